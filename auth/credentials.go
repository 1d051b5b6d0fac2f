package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
)

// HashKey returns the SHA-256 of an API key, by which keys are known: none is
// stored. Looking up a hash leaks nothing by the time it takes, since who does not
// know a key cannot choose its hash.
func HashKey(key []byte) [32]byte { return sha256.Sum256(key) }

// Bearer returns the token of an Authorization field (RFC 6750, section 2.1).
func Bearer(authorization []byte) ([]byte, bool) {
	return scheme(authorization, "bearer")
}

// Login is a name and a password as a client shows them.
type Login struct{ Name, Password []byte }

// maxLogin is the length of the longest name and password together.
const maxLogin = 255 + 1 + maxPassword

// Basic returns the name and password of an Authorization field (RFC 7617). What
// it returns is a view of scratch, which is as large as needed or grown.
func Basic(scratch, authorization []byte) (Login, bool) {
	text, ok := scheme(authorization, "basic")
	if !ok || base64.StdEncoding.DecodedLen(len(text)) > maxLogin+2 {
		return Login{}, false
	}
	plain, err := base64.StdEncoding.AppendDecode(scratch[:0], text)
	if err != nil {
		return Login{}, false
	}
	name, password, ok := bytes.Cut(plain, []byte{':'})
	return Login{Name: name, Password: password}, ok && len(name) > 0 && len(plain) <= maxLogin
}

// scheme returns what follows the name of the scheme, which has no case.
func scheme(authorization []byte, name string) ([]byte, bool) {
	word, rest, ok := bytes.Cut(authorization, []byte{' '})
	rest = bytes.Trim(rest, " ")
	if !ok || len(rest) == 0 || !bytes.EqualFold(word, []byte(name)) {
		return nil, false
	}
	return rest, true
}
