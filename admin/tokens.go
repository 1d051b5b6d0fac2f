package admin

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// The roles of a Token.
const (
	RoleRead  = "read"
	RoleWrite = "write" // may read too
)

// minToken is how long a token should be, not to be guessed.
const minToken = 16

// Token admits a caller by a token or by a client certificate. Of the token,
// only the SHA-256 is kept.
type Token struct {
	Name string
	Role string
	sum  [sha256.Size]byte
	san  string // name that the certificate is for, instead of a token
	weak bool   // shorter than minToken
}

// Tokens are all callers that are admitted.
type Tokens []Token

// ReadTokens reads the tokens file at path. See ParseTokens.
func ReadTokens(path string, getenv func(string) string) (Tokens, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read admin tokens: %w", err)
	}
	tokens, err := ParseTokens(path, data, getenv)
	if err == nil && len(tokens) == 0 {
		err = fmt.Errorf("%s: no token", path)
	}
	return tokens, err
}

// ParseTokens parses lines NAME ROLE TOKEN; empty lines and those that begin
// with # are skipped. A token ${VARIABLE} is taken from the environment;
// san:NAME admits client certificates for that name. The error lists all
// mistakes, with path and line, and contains no token.
func ParseTokens(path string, data []byte, getenv func(string) string) (Tokens, error) {
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
		case names[f[0]]:
			errs = append(errs, fmt.Errorf("%s:%d: %s: this name is taken", path, n, f[0]))
		default:
			names[f[0]] = true
			t, err := newToken(f[0], f[1], f[2], getenv)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: %s: %w", path, n, f[0], err))
			}
			tokens = append(tokens, t)
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

// newToken reads what stands for a token.
func newToken(name, role, text string, getenv func(string) string) (Token, error) {
	t := Token{Name: name, Role: role}
	if san, ok := strings.CutPrefix(text, "san:"); ok {
		if t.san = san; san == "" {
			return t, errors.New("want a name of the certificate after \"san:\", such as san:ops.example.com")
		}
		return t, nil
	}
	if variable, ok := strings.CutPrefix(text, "${"); ok {
		variable, ok = strings.CutSuffix(variable, "}")
		if text = getenv(variable); !ok || text == "" {
			return t, errors.New("want ${VARIABLE}, set in the environment")
		}
	}
	t.sum, t.weak = sha256.Sum256([]byte(text)), len(text) < minToken
	return t, nil
}

// AskForCertificates reports whether any line admits client certificates.
func (ts Tokens) AskForCertificates() bool {
	return slices.ContainsFunc(ts, func(t Token) bool { return t.san != "" })
}

// shown returns the token of the first line whose name the client's certificate is
// for, which TLS has verified. A line for a wildcard is for that certificate, not for
// what it covers.
func (ts Tokens) shown(state *tls.ConnectionState) (Token, bool) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return Token{}, false
	}
	c := state.PeerCertificates[0]
	for _, t := range ts {
		if t.san != "" && (slices.Contains(c.DNSNames, t.san) || slices.Contains(c.EmailAddresses, t.san) ||
			slices.ContainsFunc(c.URIs, func(u *url.URL) bool { return u.String() == t.san })) {
			return t, true
		}
	}
	return Token{}, false
}

// find returns the token that was given. It looks at all of them, by hashes of
// one length, so that the time taken tells nothing.
func (ts Tokens) find(given string) (Token, bool) {
	sum := sha256.Sum256([]byte(given))
	found := -1
	for i := range ts { // the sum of a line without a token is zero, which no text has
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(ts[i].sum[:], sum[:]), i, found)
	}
	if found < 0 {
		return Token{}, false
	}
	return ts[found], true
}
