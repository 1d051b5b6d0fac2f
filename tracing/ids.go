package tracing

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"

	"github.com/meshgw/meshgw/telemetry"
)

// chosenIDs gives spans the ids that the next hop was told, by way of their
// context.
type chosenIDs struct{}

type (
	traceKey struct{}
	spanKey  struct{}
)

// caller is the context of a request's span: the caller's span above it, if
// there is one, or the id of the trace that begins here.
func caller(r *telemetry.Record) context.Context {
	var id trace.TraceID
	var parent trace.SpanID
	decode(id[:], r.TraceID)
	if decode(parent[:], r.ParentID); !parent.IsValid() {
		return context.WithValue(context.Background(), traceKey{}, id)
	}
	return trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: parent, TraceFlags: trace.FlagsSampled, Remote: true,
	}))
}

func decode(id, text []byte) {
	if len(text) == hex.EncodedLen(len(id)) {
		_, _ = hex.Decode(id, text) // zero, which is none, if it is not hex
	}
}

// withSpanID makes id that of the next span; 0 stands for a random one.
func withSpanID(ctx context.Context, id uint64) context.Context {
	if id == 0 {
		return ctx
	}
	return context.WithValue(ctx, spanKey{}, id)
}

// NewIDs implements the SDK's IDGenerator.
func (g chosenIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, _ := ctx.Value(traceKey{}).(trace.TraceID)
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements the SDK's IDGenerator.
func (chosenIDs) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	n, chosen := ctx.Value(spanKey{}).(uint64)
	if !chosen {
		n = rand.Uint64() | 1 // never zero
	}
	var id trace.SpanID
	binary.BigEndian.PutUint64(id[:], n)
	return id
}
