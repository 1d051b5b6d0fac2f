package telemetry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Record is what one node has seen and decided of one request. A Ring copies
// records on Add and returns copies.
type Record struct {
	Start     time.Time
	RequestID []byte
	TraceID   []byte
	Protocol  string // HTTP/1.1, HTTP/2
	Listener  string
	Method    []byte
	Host      []byte
	Path      []byte // without the query, cut off at maxPath bytes
	Client    netip.Addr

	FromNode   []byte // the gateway that sent it on to here; empty = it came from a client
	FromRegion []byte
	Route      []byte
	Version    uint64 // of the route table
	Tenant     string
	Priority   string
	Limit      string // that refused it or that it waited for; empty = none
	Upstream   string
	Attempts   []Attempt

	Status     int           // 0 = no answer was begun
	Error      string        // of the gateway's own, as in x-meshgw-error, or client_gone
	Detail     string        // that error in a sentence
	GRPCStatus string        // how a call of gRPC ended, such as UNAVAILABLE; empty = it is none, or that is not known
	In, Out    int64         // bytes of body
	Took       time.Duration // from the first byte of the request to the last of the answer

	// For spans, and not kept in a Ring.
	ParentID []byte // the caller's span, in hex; empty = none
	Secure   bool   // the client spoke TLS
}

// Clone returns a copy of r that shares no memory with it.
func (r *Record) Clone() *Record {
	c := *r
	for _, part := range [...]*[]byte{&c.RequestID, &c.TraceID, &c.Method, &c.Host, &c.Path, &c.FromNode, &c.FromRegion, &c.Route, &c.ParentID} {
		*part = bytes.Clone(*part)
	}
	c.Attempts = slices.Clone(c.Attempts)
	return &c
}

// Attempt is one try at an endpoint, or at a gateway of another region.
type Attempt struct {
	Endpoint string // URL; mesh://NODE is a gateway
	Region   string
	Outcome  string        // ok, connect_failure, reset, timeout, unavailable, stalled, canceled, pending_full
	Status   int           // of its answer; 0 = none
	After    time.Duration // from Start until it began
	Took     time.Duration // until the answer's head or the failure

	SpanID uint64 // as the endpoint was told; 0 = it was told nothing. Not kept in a Ring
}

// maxPath and maxAttempts bound a record.
const (
	maxPath     = 512
	maxAttempts = 16
)

// append appends r for decode. The form is private to the process.
func (r *Record) append(b []byte) []byte {
	b = binary.AppendVarint(b, r.Start.UnixNano())
	for _, part := range [...][]byte{r.RequestID, r.TraceID, r.Method, r.Host, r.Path[:min(len(r.Path), maxPath)], r.FromNode, r.FromRegion, r.Route} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	for _, part := range [...]string{r.Protocol, r.Listener, r.Tenant, r.Priority, r.Limit, r.Upstream, r.Error, r.Detail, r.GRPCStatus} {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	client := r.Client.As16()
	b = append(b, client[:]...)
	for _, n := range [...]int64{int64(r.Version), int64(r.Status), r.In, r.Out, int64(r.Took)} {
		b = binary.AppendVarint(b, n)
	}
	attempts := r.Attempts[:min(len(r.Attempts), maxAttempts)]
	b = append(b, byte(len(attempts)))
	for i := range attempts {
		a := &attempts[i]
		for _, part := range [...]string{a.Endpoint, a.Region, a.Outcome} {
			b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
		}
		for _, n := range [...]int64{int64(a.Status), int64(a.After), int64(a.Took)} {
			b = binary.AppendVarint(b, n)
		}
	}
	return b
}

var errDamaged = errors.New("damaged record")

// reader takes a record apart. After the first mistake it returns zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) take(size uint64) []byte {
	if size > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	part := r.rest[:size]
	r.rest = r.rest[size:]
	return part
}

func (r *reader) bytes() []byte {
	size, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return nil
	}
	r.rest = r.rest[n:]
	return append([]byte(nil), r.take(size)...)
}

func (r *reader) text() string { return string(r.bytes()) }

// began is the Start of what append wrote, without reading the rest.
func began(b []byte) int64 {
	n, _ := binary.Varint(b)
	return n
}

// decode reads what append wrote.
func decode(b []byte) (Record, error) {
	from := reader{rest: b}
	var r Record
	r.Start = time.Unix(0, from.number()).UTC()
	for _, part := range [...]*[]byte{&r.RequestID, &r.TraceID, &r.Method, &r.Host, &r.Path, &r.FromNode, &r.FromRegion, &r.Route} {
		*part = from.bytes()
	}
	for _, part := range [...]*string{&r.Protocol, &r.Listener, &r.Tenant, &r.Priority, &r.Limit, &r.Upstream, &r.Error, &r.Detail, &r.GRPCStatus} {
		*part = from.text()
	}
	if address := from.take(16); address != nil {
		r.Client = netip.AddrFrom16([16]byte(address)).Unmap()
	}
	r.Version, r.Status = uint64(from.number()), int(from.number())
	r.In, r.Out, r.Took = from.number(), from.number(), time.Duration(from.number())
	count := from.take(1)
	if from.bad {
		return Record{}, errDamaged
	}
	for range count[0] {
		a := Attempt{Endpoint: from.text(), Region: from.text(), Outcome: from.text()}
		a.Status, a.After, a.Took = int(from.number()), time.Duration(from.number()), time.Duration(from.number())
		r.Attempts = append(r.Attempts, a)
	}
	if from.bad {
		return Record{}, errDamaged
	}
	return r, nil
}
