package message

import "bytes"

// ConnectionOptions appends the names that Connection lists.
func ConnectionOptions(tokens [][]byte, fields []Field) [][]byte {
	for i := range fields {
		if fields[i].ID == Connection {
			for option := range Listed(fields[i].Value) {
				tokens = append(tokens, option)
			}
		}
	}
	return tokens
}

// IsListed reports whether tokens has name, whatever its case.
func IsListed(tokens [][]byte, name []byte) bool {
	for _, t := range tokens {
		if bytes.EqualFold(t, name) {
			return true
		}
	}
	return false
}
