package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
)

// members reads a JSON object by exact names. A name that comes twice is an
// error: two readers could take different ones.
func members(data []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, ErrMalformed
	}
	all := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, ErrMalformed
		}
		var value json.RawMessage
		if _, twice := all[name]; twice || d.Decode(&value) != nil {
			return nil, ErrMalformed
		}
		all[name] = value
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return nil, ErrMalformed
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrMalformed
	}
	return all, nil
}

// textOf reads a string; absent is empty.
func textOf(value json.RawMessage) (string, error) {
	if value == nil {
		return "", nil
	}
	var text *string
	if json.Unmarshal(value, &text) != nil || text == nil {
		return "", ErrMalformed
	}
	return *text, nil
}

// unbase64 decodes base64url without padding, in its one canonical form.
func unbase64(text []byte) ([]byte, error) {
	out := make([]byte, base64.RawURLEncoding.DecodedLen(len(text)))
	// The decoder passes over line breaks, which no canonical form has.
	if bytes.ContainsAny(text, "\r\n") {
		return nil, ErrMalformed
	}
	n, err := base64.RawURLEncoding.Strict().Decode(out, text)
	if err != nil {
		return nil, ErrMalformed
	}
	return out[:n], nil
}
