package tracing

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/meshgw/meshgw/telemetry"
)

// resource is what all spans of a node have in common.
func (c Config) resource() *resource.Resource {
	return resource.NewWithAttributes(semconv.SchemaURL, dropEmpty(
		semconv.ServiceName("meshgw"), semconv.ServiceVersion(c.Version), semconv.ServiceInstanceID(c.Node),
		attribute.String("meshgw.node", c.Node), attribute.String("meshgw.region", c.Region), attribute.String("meshgw.zone", c.Zone),
	)...)
}

func spanLimits() sdk.SpanLimits {
	limits := sdk.NewSpanLimits()
	limits.AttributeValueLengthLimit = 512 // of a path, as the ring of requests bounds it
	return limits
}

// span makes the spans of a request: the request at this node, and its tries.
func (e *Exporter) span(r *telemetry.Record) {
	ctx, span := e.tracer.Start(caller(r), name(string(r.Method), string(r.Route)),
		trace.WithTimestamp(r.Start), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(ofRequest(r)...))
	for i := range r.Attempts {
		e.try(ctx, r, i)
	}
	if isFailed(r) {
		span.SetStatus(codes.Error, r.Detail)
	}
	span.End(trace.WithTimestamp(r.Start.Add(r.Took)))
}

// isFailed reports whether a request ended in an error that is not its client's
// making, or was cut short.
func isFailed(r *telemetry.Record) bool { return r.Status >= 500 || r.Error != "" && r.Status < 400 }

// try makes the span of a try. It ends with the head of the answer.
func (e *Exporter) try(ctx context.Context, r *telemetry.Record, i int) {
	a := &r.Attempts[i]
	begun := r.Start.Add(a.After)
	_, span := e.tracer.Start(withSpanID(ctx, a.SpanID), name(string(r.Method), ""),
		trace.WithTimestamp(begun), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(ofTry(r, i)...))
	if a.Status >= 400 || a.Outcome != "ok" {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(begun.Add(a.Took)))
}

func ofRequest(r *telemetry.Record) []attribute.KeyValue {
	scheme := "http"
	if r.Secure {
		scheme = "https"
	}
	failed := ""
	if isFailed(r) {
		failed = cmp.Or(r.Error, strconv.Itoa(r.Status))
	}
	return dropEmpty(
		method(string(r.Method)), semconv.URLScheme(scheme), semconv.URLPath(string(r.Path)),
		semconv.ServerAddress(string(r.Host)), semconv.ClientAddress(r.Client.String()),
		semconv.NetworkProtocolVersion(strings.TrimPrefix(r.Protocol, "HTTP/")),
		semconv.HTTPResponseStatusCode(r.Status), semconv.HTTPResponseBodySize(int(r.Out)), semconv.HTTPRequestBodySize(int(r.In)),
		semconv.ErrorTypeKey.String(failed),
		attribute.String("meshgw.request_id", string(r.RequestID)), attribute.String("meshgw.listener", r.Listener),
		attribute.String("meshgw.route", string(r.Route)), attribute.Int("meshgw.routes_version", int(r.Version)),
		attribute.String("meshgw.upstream", r.Upstream), attribute.String("meshgw.tenant", r.Tenant),
		attribute.String("meshgw.priority", r.Priority), attribute.String("meshgw.limit", r.Limit),
		attribute.String("meshgw.error", r.Error),
		attribute.String("meshgw.via", string(r.FromNode)), attribute.String("meshgw.via_region", string(r.FromRegion)),
	)
}

func ofTry(r *telemetry.Record, i int) []attribute.KeyValue {
	a := &r.Attempts[i]
	failed := ""
	switch {
	case a.Outcome != "ok" && a.Outcome != "unavailable":
		failed = a.Outcome
	case a.Status >= 400:
		failed = strconv.Itoa(a.Status)
	}
	host, port := address(a.Endpoint)
	return dropEmpty(
		method(string(r.Method)), semconv.ServerAddress(host), semconv.ServerPort(port),
		semconv.HTTPResponseStatusCode(a.Status), semconv.HTTPRequestResendCount(i), semconv.ErrorTypeKey.String(failed),
		attribute.String("meshgw.upstream", r.Upstream), attribute.String("meshgw.endpoint", a.Endpoint),
		attribute.String("meshgw.served_region", a.Region), attribute.String("meshgw.outcome", a.Outcome),
	)
}

// address takes the URL of an endpoint apart.
func address(endpoint string) (host string, port int) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", 0
	}
	port, _ = strconv.Atoi(u.Port())
	switch {
	case port == 0 && u.Scheme == "http":
		port = 80
	case port == 0 && u.Scheme == "https":
		port = 443
	}
	return u.Hostname(), port
}

// dropEmpty leaves out what is not known.
func dropEmpty(all ...attribute.KeyValue) []attribute.KeyValue {
	return slices.DeleteFunc(all, func(kv attribute.KeyValue) bool {
		return kv.Value.Type() == attribute.STRING && kv.Value.AsString() == "" || kv.Value.Type() == attribute.INT64 && kv.Value.AsInt64() == 0
	})
}

// name is what spans are grouped by: never what a client makes up.
func name(verb, route string) string {
	if !known(verb) {
		verb = "HTTP"
	}
	return strings.TrimSuffix(verb+" "+route, " ")
}

func method(verb string) attribute.KeyValue {
	if !known(verb) {
		return semconv.HTTPRequestMethodOther
	}
	return semconv.HTTPRequestMethodKey.String(verb)
}

func known(verb string) bool {
	switch verb {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT":
		return true
	}
	return false
}
