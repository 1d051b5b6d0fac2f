package gossip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// StreamTLS secures streams between nodes in addition to the keyring: both
// sides present a certificate of the mesh's CA. A dialer that knows whom it
// calls verifies that name, and a caller that gives a name must have a
// certificate for it.
type StreamTLS struct {
	// Client returns the settings for a call to the node of that name, or, where
	// the name is empty, to any node of the mesh.
	Client func(node string) *tls.Config
	// Server returns the settings for those who call.
	Server func() *tls.Config
	// Prefer takes peers without certificates too, while a mesh gets its own: who
	// holds the key is then believed, as without TLS.
	Prefer bool
}

// admits refuses a caller whose certificate is not of a member. Who is about to
// become one may say its own name.
func (m *Mesh) admits(s *stream, service string, request []byte) error {
	if service == "who" {
		if asker, err := decodeWho(request); err == nil && !s.speaksFor(asker.name) {
			return fmt.Errorf("the certificate is not for %q", asker.name)
		}
		return nil
	}
	for began := time.Now(); !m.isOfAMember(s); time.Sleep(admitLook) {
		if time.Since(began) > admitWait {
			return errNoMember
		}
	}
	return nil
}

// A node that joins may ask before its joining is known here.
const (
	admitWait = time.Second
	admitLook = 20 * time.Millisecond
)

var errNoMember = errors.New("the certificate is of no member of this mesh")

func (m *Mesh) isOfAMember(s *stream) bool {
	for _, member := range m.view.Load().members {
		if s.speaksFor(member.Name) {
			return true
		}
	}
	_, secure := s.conn.(*tls.Conn)
	return !secure
}

func (t *StreamTLS) required() bool { return t != nil && !t.Prefer }

// dial opens a stream to addr, where the node of that name is to be; any will do
// where it is empty. A peer that is cut off or frozen does not hold it up for
// long: others wait for their turn.
func (m *Mesh) dial(ctx context.Context, addr, name string) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*m.pace.helloTimeout)
	defer cancel()
	trust := m.cfg.TLS
	if trust == nil {
		return dialStream(ctx, m.network, addr, m.keyring(), nil, &m.stats)
	}
	s, err := dialStream(ctx, m.network, addr, m.keyring(), trust.Client(name), &m.stats)
	if trust.Prefer && (errors.Is(err, ErrCertificate) || errors.Is(err, ErrKey)) { // as older nodes put it
		return dialStream(ctx, m.network, addr, m.keyring(), nil, &m.stats)
	}
	return s, err
}
