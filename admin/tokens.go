package admin

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"strings"
)

// The roles of a Token.
const (
	RoleRead  = "read"
	RoleWrite = "write" // may read too
)

// minToken keeps out tokens that can be guessed.
const minToken = 16

// Token is who may ask. The token itself is not kept, only its SHA-256.
type Token struct {
	Name string
	Role string
	sum  [sha256.Size]byte
}

// Tokens is all who may ask.
type Tokens []Token

// ReadTokens reads the tokens file at path. See ParseTokens.
func ReadTokens(path string) (Tokens, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read admin tokens: %w", err)
	}
	tokens, err := ParseTokens(path, data)
	if err == nil && len(tokens) == 0 {
		err = fmt.Errorf("%s: no token", path)
	}
	return tokens, err
}

// ParseTokens reads lines NAME ROLE TOKEN; empty ones and those that begin with
// # are skipped. All mistakes are reported, with path and line, none with a
// token in it.
func ParseTokens(path string, data []byte) (Tokens, error) {
	var (
		tokens Tokens
		errs   []error
		lines  = bufio.NewScanner(bytes.NewReader(data))
		names  = map[string]bool{}
	)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		switch f := strings.Fields(line); {
		case len(f) != 3:
			errs = append(errs, fmt.Errorf("%s:%d: want NAME ROLE TOKEN", path, n))
		case f[1] != RoleRead && f[1] != RoleWrite:
			errs = append(errs, fmt.Errorf("%s:%d: %s: role: want read or write", path, n, f[0]))
		case len(f[2]) < minToken:
			errs = append(errs, fmt.Errorf("%s:%d: %s: want a token of %d characters at least", path, n, f[0], minToken))
		case names[f[0]]:
			errs = append(errs, fmt.Errorf("%s:%d: %s: this name is taken", path, n, f[0]))
		default:
			names[f[0]] = true
			tokens = append(tokens, Token{Name: f[0], Role: f[1], sum: sha256.Sum256([]byte(f[2]))})
		}
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", path, err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return tokens, nil
}

// find returns the token that was given. It looks at all of them, by hashes of
// one length, so that the time taken tells nothing.
func (ts Tokens) find(given string) (Token, bool) {
	sum := sha256.Sum256([]byte(given))
	found := -1
	for i := range ts {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(ts[i].sum[:], sum[:]), i, found)
	}
	if found < 0 {
		return Token{}, false
	}
	return ts[found], true
}
