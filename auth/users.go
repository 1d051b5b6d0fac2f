package auth

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

const (
	// MaxPasswords is how many bytes of a password file are read.
	MaxPasswords = 4 << 20

	maxPassword = 72 // bytes; bcrypt does not look at more, and who logs in by hand writes less
	maxName     = 255
	maxCost     = 14 // about a second of a CPU
	seenLogins  = 4096
)

// Passwords is the content of a password file. It never changes.
type Passwords struct {
	hashes  map[string]passwordHash
	decoy   passwordHash // compared with when there is no such name, so that it takes as long
	content []byte
}

// passwordHash is what a password is compared with, slowly.
type passwordHash interface{ matches(password []byte) bool }

// ParsePasswords reads lines of a name, a colon and a hash: bcrypt, as htpasswd
// -B writes it, or argon2id in PHC form. Empty lines and those that begin with # are skipped. Other
// hashes are refused; the error names the line and shows nothing of it.
func ParsePasswords(data []byte) (*Passwords, error) {
	if len(data) > MaxPasswords {
		return nil, fmt.Errorf("password file: more than %d bytes", MaxPasswords)
	}
	p := &Passwords{hashes: map[string]passwordHash{}, content: bytes.Clone(data)}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := p.add(line); err != nil {
			return nil, fmt.Errorf("password file: line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("password file: %w", err)
	}
	if p.decoy == nil {
		return nil, fmt.Errorf("password file: %w", errNobody)
	}
	return p, nil
}

func (p *Passwords) add(line string) error {
	name, hash, ok := strings.Cut(line, ":")
	if !ok || name == "" || len(name) > maxName {
		return errLine
	}
	if p.hashes[name] != nil {
		return errTwice
	}
	h, err := parseHash(hash)
	if err != nil {
		return err
	}
	p.hashes[name], p.decoy = h, h
	return nil
}

func parseHash(text string) (passwordHash, error) {
	if strings.HasPrefix(text, argonPrefix) {
		return parseArgon(text)
	}
	cost, err := bcrypt.Cost([]byte(text))
	switch {
	case err != nil:
		return nil, errHash
	case cost > maxCost:
		return nil, fmt.Errorf("%w: %d, more than %d", errCost, cost, maxCost)
	}
	return bcryptHash(text), nil
}

type bcryptHash string

func (h bcryptHash) matches(password []byte) bool {
	return bcrypt.CompareHashAndPassword([]byte(h), password) == nil
}

// Verdict is what is known of a login.
type Verdict uint8

// The verdicts.
const (
	NotSeen  Verdict = iota // ask Check
	Admitted                // name and password are right
	Refused                 // they are not, or cannot be
	NoUsers                 // there is no password file yet
)

// Users admits by one password file. The zero Users has none yet, and admits
// nobody.
type Users struct{ now atomic.Pointer[logins] }

// logins is a password file and what was found with it.
type logins struct {
	*Passwords
	secret    [32]byte
	good, bad *seen[struct{}]
}

// Set replaces the passwords by p. secret is random, of this process alone: logins
// are cached by a hash that it is part of.
func (u *Users) Set(p *Passwords, secret [32]byte) {
	if old := u.now.Load(); old != nil && bytes.Equal(old.content, p.content) {
		return
	}
	u.now.Store(&logins{Passwords: p, secret: secret, good: newSeen[struct{}](seenLogins), bad: newSeen[struct{}](seenLogins)})
}

// Ready reports whether there are passwords.
func (u *Users) Ready() bool { return u.now.Load() != nil }

// Recall returns the cached verdict on a login. It does not allocate.
func (u *Users) Recall(l Login) Verdict {
	n := u.now.Load()
	switch {
	case n == nil:
		return NoUsers
	case !l.possible():
		return Refused
	}
	sum := n.sum(l)
	switch {
	case n.good.get(sum) != nil:
		return Admitted
	case n.bad.get(sum) != nil:
		return Refused
	}
	return NotSeen
}

// Check reports whether a login is right. It is slow, on purpose of the hash: the
// caller bounds how many run at once.
func (u *Users) Check(l Login) bool {
	n := u.now.Load()
	if n == nil || !l.possible() {
		return false
	}
	hash, known := n.hashes[string(l.Name)]
	if !known {
		hash = n.decoy
	}
	right := hash.matches(l.Password) && known
	if right {
		n.good.put(n.sum(l), &struct{}{})
	} else {
		n.bad.put(n.sum(l), &struct{}{})
	}
	return right
}

func (l Login) possible() bool {
	return len(l.Name) > 0 && len(l.Name) <= maxName && len(l.Password) <= maxPassword
}

// sum is the cache key of a login: equal only for equal logins, and useless without
// the secret.
func (n *logins) sum(l Login) [32]byte {
	var buf [32 + 2 + maxName + maxPassword]byte
	b := append(buf[:0], n.secret[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(l.Name)))
	b = append(append(b, l.Name...), l.Password...)
	return sha256.Sum256(b)
}
