package routetable

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// objectReader reads objects, one after the other, with one decoder: to make one
// costs more than to read what most objects are. The zero value is ready.
type objectReader struct {
	data    bytes.Reader
	decoder *json.Decoder // nil before the first, and after one that was no good
}

// read decodes an object of that kind. A key that this version does not know is an
// error.
func (r *objectReader) read(kind string, data []byte) (anObject, error) {
	o := newObject(kind)
	if o == nil {
		return nil, errUnknownKind
	}
	r.data.Reset(data)
	if r.decoder == nil {
		r.decoder = json.NewDecoder(&r.data)
		r.decoder.DisallowUnknownFields()
	}
	err := r.decoder.Decode(o)
	if err == nil {
		if _, end := r.decoder.Token(); end != io.EOF {
			err = errors.New("more follows the object")
		}
	}
	if err != nil {
		r.decoder = nil // it may hold what is left
		return nil, err
	}
	return o, nil
}

func newObject(kind string) anObject {
	switch kind {
	case KindUpstream:
		return new(Upstream)
	case KindRoute:
		return new(Route)
	case KindLimit:
		return new(Limit)
	case KindTenant:
		return new(Tenant)
	case KindAccess:
		return new(Access)
	}
	return nil
}
