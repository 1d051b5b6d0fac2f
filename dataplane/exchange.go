package dataplane

import (
	"crypto/x509"
	"io"
	"net/netip"
	"time"

	"github.com/meshgw/meshgw/auth"
	"github.com/meshgw/meshgw/dataplane/compress"
	"github.com/meshgw/meshgw/dataplane/grpc"
	"github.com/meshgw/meshgw/dataplane/ids"
	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/dataplane/upstream"
	"github.com/meshgw/meshgw/failover"
	"github.com/meshgw/meshgw/quota"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/canonical"
	"github.com/meshgw/meshgw/telemetry"
)

// Exchange is one request and its answer: what the front has read, what the
// steps have decided, and what is recorded. Its byte slices are read-only and
// valid until the exchange ends.
type Exchange struct {
	// Set by the front.
	Front       Front
	Protocol    string            // HTTP/2, HTTP/1.1 or HTTP/1.0
	Listener    string            // name of the listener
	Link        bool              // received on a mesh link, that is from another gateway
	Certificate *x509.Certificate // of that gateway, verified; nil on a plain link
	Secure      bool              // the client speaks TLS to this node
	ClientCert  *auth.Certificate // of a client, verified; nil = none
	sni         string            // server name of an HTTP/2 connection, which may be reused for other hosts; empty = that of the request
	Method      []byte
	Authority   []byte // as the client wrote it, checked; empty in HTTP/1.0 without Host
	Host        []byte // canonical, without port
	Path        []byte // canonical
	Query       []byte // raw, without "?"
	HasQuery    bool
	Fields      []message.Field
	Length      int64     // of the body: bytes, or chunked; 0 = none
	Buffered    []byte    // the whole body, if it is small; then Body is nil
	Body        io.Reader // the body, if it is streamed; ends with io.EOF only if it is whole
	Upgrade     []byte    // protocol asked for, if it may be tunnelled; else nil
	Peer        netip.Addr
	Start       time.Time
	presence    *presence // the client's
	grpc        bool      // is a gRPC call
	until       time.Time // deadline of the gRPC call; zero = none

	// Set by the steps.
	Client     netip.Addr // the peer, or the client that trusted proxies name
	trusted    bool       // the peer is a trusted proxy
	RequestID  []byte
	trace      ids.Trace
	from       *link // what the forwarding gateway says; nil for clients
	priority   failover.Priority
	rule       *liveRule
	tenant     *liveTenant     // nil = none is known
	authFields []message.Field // fields that auth services returned for the upstream
	prefix     int
	preflight  bool // a CORS preflight, answered here
	target     *liveTarget
	sticky     *endpoint // named by the client's cookie; nil = none
	endpoint   *endpoint
	deadline   time.Time // for the answer's head; zero = none
	attempts   int
	conn       *upstream.Conn
	call       *call // instead of conn, to an endpoint that speaks HTTP/2
	upload     *upload
	messages   grpc.Messages // of the body of a gRPC call
	copy       *mirrorCopy   // for a mirror, not sent yet; nil = none
	answer     upstream.Answer
	reply      reply
	encoding   *compress.Compressor // compresses the reply, until finish; nil = nothing does
	outcome    failover.Outcome
	refused    *refusal
	decision   quota.Decision // of the limits; its Limit is nil if none applied
	asks       [quota.MaxAsks]quota.Ask
	held       []quota.Ask // to release at the end
	status     int
	grpcStatus grpc.Status   // of a gRPC call; Unset = not known
	in, out    int64         // bytes of body
	upstream   time.Duration // time of the last try until its head

	scratch *scratch
}

// scratch is memory that is reused from one exchange to the next.
type scratch struct {
	head      []byte // what is sent to the endpoint
	out       []byte // what is sent to the client
	path      []byte // canonical path
	host      []byte
	id        [128]byte
	small     []byte // for short-lived values
	body      []byte // a small body
	tokens    [][]byte
	fields    []message.Field
	upstream  []message.Field       // of an answer over HTTP/2
	answer    upstream.AnswerMemory // of one over HTTP/1.1
	reply     []message.Field
	tried     []*failover.Endpoint
	attempts  []telemetry.Attempt
	record    telemetry.Record // the request's record, and its encoding in the ring
	recorded  []byte
	line      []byte // of the access log
	route     []byte
	match     routetable.Request
	view      matchFields // for matching by header and query
	problem   []byte
	query     []byte
	location  []byte
	values    []byte // of fields that the rule sets in the answer
	subject   []byte // what a limit counts by
	policy    []byte // values of RateLimit-Policy and RateLimit
	remaining []byte
	legacy    [3][]byte // values of the X-RateLimit fields
	login     []byte
	from      link
}

// Front is the client side of an exchange, for one protocol.
type Front interface {
	// Inform sends an interim answer (1xx), if the protocol allows it.
	Inform(status int, fields []message.Field)

	// Send sends the answer: status, fields and body. It calls the server's finish
	// once, after the last byte or with the error that stopped it.
	Send(x *Exchange, r *reply)

	// Trailers returns the fields that came after the request's body, once
	// that has ended.
	Trailers(dst []message.Field) ([]message.Field, error)

	// Gone reports whether the client's connection is known to be broken.
	Gone() bool

	// StopBody ends the reading of Body: a Read in progress returns, and all later
	// ones fail.
	StopBody()
}

// reply is the answer as the client is to get it.
type reply struct {
	status int
	fields []message.Field // without framing
	length int64           // of the body: bytes, chunked or untilClose (unknown)
	body   []byte          // the whole body, if stream is nil
	stream message.Stream  // the body as it comes
	tunnel bool            // after the head, bytes go both ways until one side ends
	close  bool            // the client's connection is to be closed after it
}

// header returns the first field named name, which is in lower case.
func (x *Exchange) header(name string) ([]byte, bool) {
	for i := range x.Fields {
		if message.EqualFold(x.Fields[i].Name, name) {
			return x.Fields[i].Value, true
		}
	}
	return nil, false
}

// queryValue returns the first query parameter named name, decoded as forms are.
func (x *Exchange) queryValue(name string) ([]byte, bool) {
	rest := x.Query
	for len(rest) > 0 {
		var pair []byte
		pair, rest = message.CutByte(rest, '&')
		key, value := message.CutByte(pair, '=')
		x.scratch.query = appendUnescaped(x.scratch.query[:0], key)
		if string(x.scratch.query) == name {
			x.scratch.query = appendUnescaped(x.scratch.query[:0], value)
			return x.scratch.query, true
		}
	}
	return nil, false
}

// matchFields is an Exchange as the route table sees it.
type matchFields struct{ x *Exchange }

// Header implements routetable.Fields.
func (f *matchFields) Header(name string) ([]byte, bool) { return f.x.header(name) }

// Query implements routetable.Fields.
func (f *matchFields) Query(name string) ([]byte, bool) { return f.x.queryValue(name) }

// appendUnescaped appends b with "+" as a space and escapes decoded; malformed
// escapes stay as they are.
func appendUnescaped(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '+':
			dst = append(dst, ' ')
		case c == '%' && i+2 < len(b) && canonical.Unhex(b[i+1]) >= 0 && canonical.Unhex(b[i+2]) >= 0:
			dst = append(dst, byte(canonical.Unhex(b[i+1])<<4|canonical.Unhex(b[i+2])))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// maxKept is the largest buffer, in bytes, that is kept for other exchanges.
const maxKept = upstream.BufferSize + 8<<10

// reset prepares x for another request, keeping its memory.
func (x *Exchange) reset() {
	kept := x.scratch
	if kept == nil {
		kept = &scratch{small: make([]byte, 0, 64)}
	}
	if cap(kept.out) > maxKept {
		kept.out = nil
	}
	clear(kept.tried[:cap(kept.tried)])
	kept.tried, kept.attempts, kept.values = kept.tried[:0], kept.attempts[:0], kept.values[:0]
	*x = Exchange{} // in place: a copy would be the largest thing on every connection's stack
	x.scratch = kept
	kept.view.x = x
}

// isHead reports whether the method is HEAD, whose answers have no body.
func (x *Exchange) isHead() bool { return string(x.Method) == "HEAD" }

// idempotent reports whether the request may be repeated: by its method (RFC
// 9110, section 9.2.2), or because it has an idempotency key.
func (x *Exchange) idempotent() bool {
	switch string(x.Method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE":
		return true
	}
	_, keyed := x.header("idempotency-key")
	return keyed
}
