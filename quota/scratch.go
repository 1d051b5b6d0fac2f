package quota

// scratchMost is how many elements an empty slice may keep room for: a surge
// should not be remembered for ever.
const scratchMost = 1 << 12

// reuse empties s, to be filled again.
func reuse[T any](s []T) []T { return reuseUpTo(s, scratchMost) }

// reuseUpTo is reuse of a slice that may keep room for so many.
func reuseUpTo[T any](s []T, most int) []T {
	if cap(s) > most {
		return nil
	}
	clear(s)
	return s[:0]
}

// rest drops the first n of s.
func rest[T any](s []T, n int) []T {
	if n == len(s) {
		return reuse(s)
	}
	left := copy(s, s[n:])
	clear(s[left:])
	return s[:left]
}
