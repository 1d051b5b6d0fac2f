// Package collector is a small OpenTelemetry collector for tests: it takes spans
// by OTLP, over HTTP and gRPC, and keeps them.
package collector

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	collect "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // for clients that compress
	"google.golang.org/protobuf/proto"
)

// Collector keeps the spans that it is sent. Its methods may be called by many at
// once.
type Collector struct {
	collect.UnimplementedTraceServiceServer

	mu    sync.Mutex // guards the rest
	spans []Span
}

// Span is one span with what its node says of itself. Ids are in hex; Parent is
// empty for none.
type Span struct {
	Trace, ID, Parent string
	Name              string
	Server, Failed    bool
	Start, End        time.Time
	Attributes        map[string]any // string or int64
	Node              map[string]any
}

// Spans returns what has come so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Of returns the spans of one trace.
func (c *Collector) Of(id string) []Span {
	return slices.DeleteFunc(c.Spans(), func(s Span) bool { return s.Trace != id })
}

// ServeHTTP takes POST /v1/traces.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request collect.ExportTraceServiceRequest
	data, err := body(r)
	if err == nil {
		err = proto.Unmarshal(data, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("content-type") != "application/x-protobuf" {
		http.Error(w, "want protobuf at /v1/traces", http.StatusBadRequest)
		return
	}
	c.keep(&request)
	w.Header().Set("content-type", "application/x-protobuf")
}

func body(r *http.Request) ([]byte, error) {
	if r.Header.Get("content-encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// Export implements the gRPC service.
func (c *Collector) Export(_ context.Context, request *collect.ExportTraceServiceRequest) (*collect.ExportTraceServiceResponse, error) {
	c.keep(request)
	return &collect.ExportTraceServiceResponse{}, nil
}

// ServeGRPC serves gRPC on ln until ctx ends.
func (c *Collector) ServeGRPC(ctx context.Context, ln net.Listener) error {
	s := grpc.NewServer()
	collect.RegisterTraceServiceServer(s, c)
	defer context.AfterFunc(ctx, s.Stop)()
	if err := s.Serve(ln); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

func (c *Collector) keep(request *collect.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range request.GetResourceSpans() {
		node := values(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, spanOf(s, node))
			}
		}
	}
}

func spanOf(s *trace.Span, node map[string]any) Span {
	return Span{
		Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Name: s.GetName(), Server: s.GetKind() == trace.Span_SPAN_KIND_SERVER, Failed: s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR,
		Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano())),
		Attributes: values(s.GetAttributes()), Node: node,
	}
}

func values(attributes []*common.KeyValue) map[string]any {
	all := map[string]any{}
	for _, a := range attributes {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.GetKey()] = v.IntValue
		}
	}
	return all
}
