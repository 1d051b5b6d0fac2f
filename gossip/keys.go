package gossip

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/hashicorp/serf/serf"
)

// Errors of what is done to keys.
var (
	ErrNoKeyring  = errors.New("this mesh has no keyring")
	ErrUnknownKey = errors.New("no such key in this node's keyring")
)

// KeyAnswer is how the members answered a Serf query about keys.
type KeyAnswer struct {
	Fingerprint string
	Members     int               // that were asked, plain Serf agents too
	Done        int               // that did it
	Failed      map[string]string // why not, by name; who was silent is in none
}

// InstallKey installs a key at every member, beside those it has: a new one or,
// by its fingerprint, one that this node has.
func (m *Mesh) InstallKey(fingerprint string) (KeyAnswer, error) {
	if fingerprint == "" {
		key := make([]byte, 32) // AES-256
		_, _ = rand.Read(key)   // never fails
		return m.tellKeys(key, (*serf.KeyManager).InstallKey)
	}
	return m.tellKnownKey(fingerprint, (*serf.KeyManager).InstallKey)
}

// UseKey makes every member encrypt with a key that all have.
func (m *Mesh) UseKey(fingerprint string) (KeyAnswer, error) {
	return m.tellKnownKey(fingerprint, (*serf.KeyManager).UseKey)
}

// RemoveKey removes a key, which must not be the primary one of any member,
// everywhere.
func (m *Mesh) RemoveKey(fingerprint string) (KeyAnswer, error) {
	return m.tellKnownKey(fingerprint, (*serf.KeyManager).RemoveKey)
}

type keyQuery func(m *serf.KeyManager, key string) (*serf.KeyResponse, error)

func (m *Mesh) tellKnownKey(fingerprint string, ask keyQuery) (KeyAnswer, error) {
	keys := m.keyring()
	if keys == nil {
		return KeyAnswer{}, ErrNoKeyring
	}
	for _, key := range keys.GetKeys() {
		if Fingerprint(key) == fingerprint {
			return m.tellKeys(key, ask)
		}
	}
	return KeyAnswer{}, ErrUnknownKey
}

func (m *Mesh) tellKeys(key []byte, ask keyQuery) (KeyAnswer, error) {
	s := m.session.Load()
	if m.keyring() == nil || s == nil {
		return KeyAnswer{}, ErrNoKeyring
	}
	resp, err := ask(s.serf().KeyManager(), base64.StdEncoding.EncodeToString(key))
	if resp == nil || resp.NumNodes == 0 {
		return KeyAnswer{}, fmt.Errorf("ask the members: %w", err)
	}
	// An error of the members is told by the numbers.
	return KeyAnswer{Fingerprint: Fingerprint(key), Members: resp.NumNodes, Done: resp.NumResp - resp.NumErr, Failed: resp.Messages}, nil
}

// Fingerprint identifies a gossip key without revealing it.
func Fingerprint(key []byte) string { return hex.EncodeToString(keyID(key)) }

// HeldKey is a key of this node's keyring.
type HeldKey struct {
	Fingerprint string
	Primary     bool   // what is sent is sealed with it
	Sealed      uint64 // packets and streams that this node sealed with it, of earlier runs too
}

// Keys returns the keyring, the primary key first; nil without encryption.
func (m *Mesh) Keys() []HeldKey {
	keys := m.keyring()
	if keys == nil {
		return nil
	}
	primary := keys.GetPrimaryKey()
	var all []HeldKey
	for _, key := range keys.GetKeys() {
		name := Fingerprint(key)
		all = append(all, HeldKey{Fingerprint: name, Primary: bytes.Equal(key, primary), Sealed: m.sealed.of(name)})
	}
	return all
}

// seals counts what was sealed, by key: AES-GCM with random nonces wears out.
type seals struct {
	mu     sync.Mutex // guards the rest
	key    []byte     // the last one
	name   string     // its fingerprint
	counts map[string]uint64
}

func (s *seals) load(counts map[string]uint64) {
	s.counts = map[string]uint64{}
	maps.Copy(s.counts, counts)
}

func (s *seals) add(key []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(s.key, key) {
		s.key, s.name = bytes.Clone(key), Fingerprint(key)
	}
	s.counts[s.name]++
}

func (s *seals) of(name string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[name]
}

// seal notes that memberlist seals something more.
func (m *Mesh) seal() {
	if keys := m.keyring(); keys != nil {
		m.sealed.add(keys.GetPrimaryKey())
	}
}
