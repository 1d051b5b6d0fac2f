package replica

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/meshgw/meshgw/routetable"
)

// objectReader reads objects, one after the other, with one decoder: to make one
// costs more than to read what most objects are. The zero value is ready.
type objectReader struct {
	data    bytes.Reader
	decoder *json.Decoder // nil before the first, and after one that was no good
}

// read decodes an object of that kind. A key that this version does not know is an
// error.
func (r *objectReader) read(kind string, data []byte) (routetable.Object, error) {
	o := routetable.NewObject(kind)
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
