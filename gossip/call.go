package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/protobuf/encoding/protowire"
)

// A service answers calls of other nodes.
type service func(request []byte) (answer []byte, err error)

const (
	fieldService = 1
	fieldPayload = 2
	fieldError   = 3
)

// call asks the peer at the other end of s.
func (s *stream) call(name string, request []byte) ([]byte, error) {
	msg := protowire.AppendString(protowire.AppendTag(nil, fieldService, protowire.BytesType), name)
	msg = protowire.AppendBytes(protowire.AppendTag(msg, fieldPayload, protowire.BytesType), request)
	if err := s.write(msg); err != nil {
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
	s, err := acceptStream(c, m.keyring())
	if err != nil {
		m.stats.refused("stream", "greeting")
		m.log.Debug().Err(err).Str("from", c.RemoteAddr().String()).Msg("stream refused")
		return
	}
	for {
		msg, err := s.read()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				m.stats.refused("stream", "broken")
			}
			return
		}
		if err := s.write(m.answer(msg)); err != nil {
			return
		}
	}
}

func (m *Mesh) answer(msg []byte) []byte {
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
		if serve, ok := m.services[string(name)]; ok {
			answer, err = serve(request)
		} else {
			err = fmt.Errorf("no service %q", name)
		}
	}
	if err != nil {
		m.stats.refused("stream", "request")
		return protowire.AppendString(protowire.AppendTag(nil, fieldError, protowire.BytesType), err.Error())
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, fieldPayload, protowire.BytesType), answer)
}

// dial opens a stream to the node at addr.
func (m *Mesh) dial(ctx context.Context, addr string) (*stream, error) {
	return dialStream(ctx, m.network, addr, m.keyring(), &m.stats)
}
