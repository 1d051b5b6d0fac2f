package gossip

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// Streams of ours carry calls: a request and its answer, any number in turn.
// They are sealed with the gossip keyring. The dialer names its primary key and
// sends a nonce, the listener answers with its own; both derive from the key
// and the two nonces one AES-256-GCM key for each direction (HKDF-SHA256, RFC
// 5869), and number the frames. So frames can be neither read, nor forged,
// repeated, reordered or cut off unnoticed, and a recorded stream opens nothing.
// Without a keyring, which is on loopback only, frames travel in the clear.
//
// Where the mesh has certificates, TLS follows the greeting and the frames go
// inside it, so that the key alone opens no stream: see StreamTLS.

const (
	streamVersion = 1
	nonceSize     = 16
	keyIDSize     = 8

	maxFrame   = 64 << 10
	lastFrame  = 1 << 31 // bit of a frame's length: it ends its message
	maxMessage = 64 << 20

	// stallTimeout bounds the wait for the next frame, not the whole message.
	stallTimeout = 5 * time.Second
)

const (
	// Bits of a stream's mode.
	modeSealed = 1
	modeSecure = 2

	accepted       = 0
	unknownKey     = 1
	certificateWay = 2 // the one side has certificates and the other shows none
)

// ErrKey is returned by a call when the two nodes do not share the key.
var ErrKey = errors.New("the peer does not know our gossip key")

// ErrCertificate is returned by a call when one side requires certificates and
// the other has none.
var ErrCertificate = errors.New("only one of us has a certificate of the mesh: give all nodes --mesh-ca, --mesh-cert and --mesh-key")

type stream struct {
	conn       net.Conn
	in         *bufio.Reader
	seal, open *counterAEAD // nil in the clear
	limit      int          // of a message that is read, in bytes

	hold func(n int) (tooMuch bool) // bounds what all streams hold of messages; nil = nothing does
	held int                        // told to hold
}

func newStream(c net.Conn) *stream {
	return &stream{conn: c, in: bufio.NewReader(c), limit: maxMessage}
}

// counterAEAD is a cipher whose nonce is the number of the frame.
type counterAEAD struct {
	cipher.AEAD
	frames uint64
}

func (a *counterAEAD) nonce() []byte {
	n := make([]byte, a.NonceSize())
	binary.BigEndian.PutUint64(n[len(n)-8:], a.frames)
	a.frames++
	return n
}

// dialStream opens a stream to addr, within TLS where secure is not nil.
func dialStream(ctx context.Context, network Network, addr string, keys *memberlist.Keyring, secure *tls.Config, st *stats) (*stream, error) {
	c, err := network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c = &countedConn{Conn: c, in: &st.streamBytesIn, out: &st.streamBytesOut}
	s := newStream(c)
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	err = s.greet(keys, secure != nil)
	if err == nil && secure != nil {
		err = s.wrap(ctx, tls.Client(s.conn, secure))
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return s, nil
}

// wrap has the frames go through TLS from here on.
func (s *stream) wrap(ctx context.Context, c *tls.Conn) error {
	if s.in.Buffered() > 0 {
		return errors.New("bytes before TLS")
	}
	if err := c.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("show certificates: %w", err)
	}
	s.conn, s.in = c, bufio.NewReader(c)
	return nil
}

// speaksFor reports whether the peer may call itself by that name: in clear
// anybody may, with TLS whom the certificate is for.
func (s *stream) speaksFor(name string) bool {
	c, ok := s.conn.(*tls.Conn)
	return !ok || c.ConnectionState().PeerCertificates[0].VerifyHostname(name) == nil
}

// greet is the dialer's side of the handshake.
func (s *stream) greet(keys *memberlist.Keyring, secure bool) error {
	_ = s.conn.SetDeadline(time.Now().Add(stallTimeout))
	hello := []byte{ownStream, streamVersion, 0}
	if secure {
		hello[2] = modeSecure
	}
	var key, nonce []byte
	if keys != nil {
		key = keys.GetPrimaryKey()
		nonce = newNonce()
		hello[2] |= modeSealed
		hello = append(append(hello, keyID(key)...), nonce...)
	}
	if _, err := s.conn.Write(hello); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	reply := make([]byte, 1+nonceSize)
	if _, err := io.ReadFull(s.in, reply[:1]); err != nil {
		return fmt.Errorf("read greeting: %w", err)
	}
	switch reply[0] {
	case accepted:
	case certificateWay:
		return ErrCertificate
	default:
		return ErrKey
	}
	if _, err := io.ReadFull(s.in, reply[1:]); err != nil {
		return fmt.Errorf("read greeting: %w", err)
	}
	if keys != nil {
		s.seal = derive(key, nonce, reply[1:], "meshgw stream 1 dialer")
		s.open = derive(key, nonce, reply[1:], "meshgw stream 1 listener")
	}
	return nil
}

// acceptStream is the listener's side; the first byte has been read.
func acceptStream(c net.Conn, keys *memberlist.Keyring, trust *StreamTLS) (*stream, error) {
	s := newStream(c)
	_ = c.SetDeadline(time.Now().Add(stallTimeout))
	head := make([]byte, 2)
	if _, err := io.ReadFull(s.in, head); err != nil {
		return nil, fmt.Errorf("read greeting: %w", err)
	}
	if head[0] != streamVersion {
		return nil, fmt.Errorf("stream version %d", head[0])
	}
	if head[1]&^(modeSealed|modeSecure) != 0 || (head[1]&modeSealed != 0) != (keys != nil) {
		_, _ = c.Write([]byte{unknownKey})
		return nil, ErrKey
	}
	secure := head[1]&modeSecure != 0
	if secure && trust == nil || !secure && trust.required() {
		_, _ = c.Write([]byte{certificateWay})
		return nil, ErrCertificate
	}
	mine := newNonce()
	if keys != nil {
		theirs := make([]byte, keyIDSize+nonceSize)
		if _, err := io.ReadFull(s.in, theirs); err != nil {
			return nil, fmt.Errorf("read greeting: %w", err)
		}
		key := findKey(keys, theirs[:keyIDSize])
		if key == nil {
			_, _ = c.Write([]byte{unknownKey})
			return nil, ErrKey
		}
		s.seal = derive(key, theirs[keyIDSize:], mine, "meshgw stream 1 listener")
		s.open = derive(key, theirs[keyIDSize:], mine, "meshgw stream 1 dialer")
	}
	if _, err := c.Write(append([]byte{accepted}, mine...)); err != nil {
		return nil, fmt.Errorf("greet: %w", err)
	}
	if secure {
		return s, s.wrap(context.Background(), tls.Server(c, trust.Server())) // c's deadline ends it
	}
	return s, nil
}

func newNonce() []byte {
	n := make([]byte, nonceSize)
	_, _ = rand.Read(n) // crypto/rand.Read never fails
	return n
}

// keyID names a key without telling it.
func keyID(key []byte) []byte {
	sum := sha256.Sum256(append([]byte("meshgw key id "), key...))
	return sum[:keyIDSize]
}

func findKey(keys *memberlist.Keyring, id []byte) []byte {
	for _, key := range keys.GetKeys() {
		if bytes.Equal(keyID(key), id) {
			return key
		}
	}
	return nil
}

func derive(key, dialer, listener []byte, info string) *counterAEAD {
	salt := append(append([]byte(nil), dialer...), listener...)
	// None of the three can fail: the lengths are ours.
	k, err := hkdf.Key(sha256.New, key, salt, info, 32)
	if err != nil {
		panic(err)
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &counterAEAD{AEAD: aead}
}

// write sends one message, which parts make up together.
func (s *stream) write(parts ...[]byte) error {
	left := 0
	for _, part := range parts {
		left += len(part)
	}
	if left > maxMessage {
		return fmt.Errorf("message of %d bytes, at most %d", left, maxMessage)
	}
	out := bufio.NewWriterSize(s.conn, min(left, maxFrame)+64)
	frame := make([]byte, 0, min(left, maxFrame)+64)
	for {
		frame = frame[:0]
		for len(parts) > 0 && len(frame) < maxFrame {
			n := min(len(parts[0]), maxFrame-len(frame))
			frame = append(frame, parts[0][:n]...)
			if parts[0] = parts[0][n:]; len(parts[0]) == 0 {
				parts = parts[1:]
			}
		}
		left -= len(frame)
		size := uint32(len(frame))
		if s.seal != nil {
			size += uint32(s.seal.Overhead())
		}
		if left == 0 {
			size |= lastFrame
		}
		head := binary.BigEndian.AppendUint32(nil, size)
		if s.seal != nil {
			frame = s.seal.Seal(frame[:0], s.seal.nonce(), frame, head)
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(stallTimeout))
		_, _ = out.Write(head) // a bufio.Writer keeps its error for Flush
		_, _ = out.Write(frame)
		if left == 0 {
			return out.Flush()
		}
	}
}

// read receives one message.
func (s *stream) read() ([]byte, error) {
	var frames [][]byte // joined at the end: a large message is not copied as it grows
	length := 0
	head := make([]byte, 4)
	for {
		_ = s.conn.SetReadDeadline(time.Now().Add(stallTimeout))
		if _, err := io.ReadFull(s.in, head); err != nil {
			return nil, err
		}
		size := binary.BigEndian.Uint32(head)
		last := size&lastFrame != 0
		size &^= lastFrame
		if size > maxFrame+64 || length+int(size) > s.limit {
			return nil, fmt.Errorf("message of %d bytes or more, frame of %d", length, size)
		}
		frame := make([]byte, size)
		if _, err := io.ReadFull(s.in, frame); err != nil {
			return nil, err
		}
		if s.open != nil {
			var err error
			if frame, err = s.open.Open(frame[:0], s.open.nonce(), frame, head); err != nil {
				return nil, fmt.Errorf("open frame: %w", err)
			}
		}
		length += len(frame)
		if n := len(frames); n > 0 && len(frames[n-1]) < maxFrame { // ours are full; a list of bytes would cost more than they
			frames[n-1] = append(frames[n-1], frame...)
		} else {
			frames = append(frames, frame)
		}
		if s.hold != nil {
			s.held += len(frame)
			if s.hold(len(frame)) {
				return nil, errBusy
			}
		}
		switch {
		case last && len(frames) == 1:
			return frames[0], nil
		case last:
			return slices.Concat(frames...), nil
		}
	}
}
