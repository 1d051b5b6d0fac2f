package dataplane

// Gone implements Front. An end of the client's side alone may be a half-close.
func (f *h1) Gone() bool {
	_, broken := f.conn.side()
	return broken
}
