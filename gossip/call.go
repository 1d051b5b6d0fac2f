package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/protobuf/encoding/protowire"
)

// A Service answers calls of other nodes. The caller gets the text of its
// error.
type Service func(request []byte) (answer []byte, err error)

// MaxAnswer is the size limit of an answer of a Service, in bytes: calls are
// for queries by people, not for copying state.
const MaxAnswer = 4 << 20

// ErrNotAlive is returned by Call for a member that is not known to be alive.
var ErrNotAlive = errors.New("not alive")

// Call sends request to a Service of the member of that name, and returns the
// answer. The service of this node is called without the network. The error is
// ErrNotAlive, ErrKey, that of ctx or of the network, or what the service
// returned.
func (m *Mesh) Call(ctx context.Context, member, service string, request []byte) ([]byte, error) {
	if member == m.cfg.Name {
		if serve, ok := m.services[service]; ok {
			return serve(request)
		}
		return nil, noService(service)
	}
	addr := m.living(member)
	if addr == "" {
		return nil, ErrNotAlive
	}
	answer, err := m.callAt(ctx, addr, member, service, request)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx) // which closed the connection under it
	}
	return answer, err
}

func (m *Mesh) callAt(ctx context.Context, addr, member, service string, request []byte) ([]byte, error) {
	s, err := m.dial(ctx, addr, member)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = s.conn.Close() })()
	s.limit = MaxAnswer + 1<<10 // and what wraps it
	return s.call(service, request)
}

// maxRequest bounds what a Service of Config is asked with, in bytes.
const maxRequest = MaxAnswer + 1<<10

// bounded refuses what is too large to be asked, and an answer that is too large
// where it is made, so that the caller reads why.
func bounded(serve Service) Service {
	return func(request []byte) ([]byte, error) {
		if len(request) > maxRequest {
			return nil, fmt.Errorf("request of %d bytes, at most %d", len(request), maxRequest)
		}
		answer, err := serve(request)
		if err == nil && len(answer) > MaxAnswer {
			return nil, fmt.Errorf("answer of %d bytes, at most %d", len(answer), MaxAnswer)
		}
		return answer, err
	}
}

func noService(name string) error { return fmt.Errorf("no service %q", name) }

const (
	fieldService = 1
	fieldPayload = 2
	fieldError   = 3
)

// call asks the peer at the other end of s.
func (s *stream) call(name string, request []byte) ([]byte, error) {
	msg := protowire.AppendString(protowire.AppendTag(nil, fieldService, protowire.BytesType), name)
	if err := s.write(payloadHead(msg, request), request); err != nil {
		return nil, fmt.Errorf("ask %s: %w", name, err)
	}
	reply, err := s.read()
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", name, err)
	}
	var answer, refusal []byte
	for f, err := range wireFields(reply) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("read answer of %s: %w", name, err)
		case f.num == fieldPayload:
			answer = f.bytes
		case f.num == fieldError:
			refusal = f.bytes
		}
	}
	if refusal != nil {
		return nil, fmt.Errorf("%s refused: %s", name, refusal)
	}
	return answer, nil
}

// serveStream answers calls on c until its peer has no more.
func (m *Mesh) serveStream(c net.Conn) {
	s, err := acceptStream(c, m.keyring(), m.cfg.TLS)
	if err != nil {
		m.stats.refused("stream", "greeting")
		m.log.Debug().Err(err).Str("from", c.RemoteAddr().String()).Msg("stream refused")
		return
	}
	s.hold = m.holding.hold
	for {
		msg, err := s.read()
		if err == nil {
			err = s.write(m.answer(s, msg))
		}
		m.holding.release(s.held)
		s.held = 0
		switch {
		case err == nil:
			continue
		case errors.Is(err, errBusy):
			m.stats.refused("stream", "too_big")
		case !errors.Is(err, io.EOF):
			m.stats.refused("stream", "broken")
		}
		return
	}
}

// payloadHead appends what goes before a payload in a message.
func payloadHead(b, payload []byte) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, fieldPayload, protowire.BytesType), uint64(len(payload)))
}

// answer returns the parts of the answer to a call.
func (m *Mesh) answer(s *stream, msg []byte) (head, payload []byte) {
	var name, request []byte
	var err error
	for f, ferr := range wireFields(msg) {
		switch {
		case ferr != nil:
			err = ferr
		case f.num == fieldService:
			name = f.bytes
		case f.num == fieldPayload:
			request = f.bytes
		}
	}
	var answer []byte
	if err == nil {
		err = m.admits(s, string(name), request)
	}
	if err == nil {
		if serve, ok := m.services[string(name)]; ok {
			answer, err = serve(request)
		} else {
			err = noService(string(name))
		}
	}
	if err != nil {
		m.stats.refused("stream", "request")
		return protowire.AppendString(protowire.AppendTag(nil, fieldError, protowire.BytesType), err.Error()), nil
	}
	return payloadHead(nil, answer), answer
}
