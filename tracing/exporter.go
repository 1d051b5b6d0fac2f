package tracing

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/meshgw/meshgw/telemetry"
)

const (
	queued    = 2048             // records that wait; more are dropped
	batchSize = 512              // spans sent at once, as the SDK's own processor has it
	sendEvery = time.Second      // even if they are fewer
	sendFor   = 10 * time.Second // one batch, repetitions included; meanwhile records wait
	grace     = 2 * time.Second  // for the rest, when the node ends
)

// Config configures an Exporter.
type Config struct {
	URL     string // http, https, grpc or grpcs; see CheckURL
	Node    string
	Region  string
	Zone    string
	Version string // of the program
}

// Exporter sends records as spans. Add is safe for concurrent use; Run may be
// called once.
type Exporter struct {
	client otlptrace.Client
	tracer trace.Tracer
	log    zerolog.Logger

	queue                     chan *telemetry.Record
	dropped, failed, exported atomic.Uint64

	batch   []sdk.ReadOnlySpan // Run's own from here on
	failing bool
}

// New returns an Exporter to a collector. It opens nothing: Run does.
func New(cfg Config, log zerolog.Logger) (*Exporter, error) {
	client, err := newClient(cfg.URL)
	if err != nil {
		return nil, err
	}
	e := &Exporter{client: client, log: log, queue: make(chan *telemetry.Record, queued)}
	e.tracer = sdk.NewTracerProvider(
		sdk.WithSampler(sdk.AlwaysSample()), // what is added has been chosen
		sdk.WithIDGenerator(chosenIDs{}),
		sdk.WithRawSpanLimits(spanLimits()),
		sdk.WithResource(cfg.resource()),
		sdk.WithSpanProcessor(collect{e}),
	).Tracer("github.com/meshgw/meshgw")
	return e, nil
}

// CheckURL returns an error if text is not a valid URL of a collector.
func CheckURL(text string) error {
	_, err := parseURL(text)
	return err
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || !strings.Contains(" http https grpc grpcs ", " "+u.Scheme+" ") {
		// The text itself may hold a password.
		return nil, fmt.Errorf("want http://HOST:PORT, https://HOST:PORT, grpc://HOST:PORT or grpcs://HOST:PORT, and credentials in OTEL_EXPORTER_OTLP_HEADERS")
	}
	return u, nil
}

// newClient speaks the protocol that the URL names. Headers, certificates and the
// like come from the environment, as OpenTelemetry has it (OTEL_EXPORTER_OTLP_*).
func newClient(text string) (otlptrace.Client, error) {
	u, err := parseURL(text)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "grpc", "grpcs":
		options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(u.Host), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig(retries()))}
		if u.Scheme == "grpc" {
			options = append(options, otlptracegrpc.WithInsecure())
		}
		return otlptracegrpc.NewClient(options...), nil
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithRetry(retries()),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression)), nil
}

func retries() otlptracehttp.RetryConfig {
	return otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: sendFor}
}

// Add queues a copy of r. It never blocks: if the queue is full, r is dropped.
func (e *Exporter) Add(r *telemetry.Record) {
	if len(e.queue) == cap(e.queue) {
		e.dropped.Add(1) // without the work of a copy
		return
	}
	select {
	case e.queue <- r.Clone():
	default:
		e.dropped.Add(1)
	}
}

// Stats counts the records and spans by what became of them.
type Stats struct {
	Exported uint64 // spans that the collector took
	Failed   uint64 // spans that it did not take
	Dropped  uint64 // records that found the queue full
}

// Stats returns the counts since the start.
func (e *Exporter) Stats() Stats {
	return Stats{Exported: e.exported.Load(), Failed: e.failed.Load(), Dropped: e.dropped.Load()}
}

// Run exports what is added until ctx ends, and then, for a short time, the
// rest.
func (e *Exporter) Run(ctx context.Context) error {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { e.log.Warn().Err(err).Msg("tracing") }))
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(grace, stop) })
	exporter := otlptrace.NewUnstarted(e.client)
	if err := exporter.Start(sending); err != nil {
		return fmt.Errorf("start tracing: %w", err)
	}
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case r := <-e.queue:
			if e.span(r); len(e.batch) >= batchSize {
				e.send(sending, exporter)
			}
		case <-tick.C:
			e.send(sending, exporter)
		}
	}
	for len(e.queue) > 0 {
		e.span(<-e.queue)
	}
	e.send(sending, exporter)
	_ = exporter.Shutdown(sending) // all that could be sent has been
	return nil
}

// send sends the batch. That a collector is out of reach is said once.
func (e *Exporter) send(ctx context.Context, to *otlptrace.Exporter) {
	if len(e.batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendFor)
	defer cancel()
	err := to.ExportSpans(ctx, e.batch)
	switch count := uint64(len(e.batch)); {
	case err != nil:
		e.failed.Add(count)
	default:
		e.exported.Add(count)
	}
	switch failing := err != nil; {
	case failing && !e.failing:
		e.log.Warn().Err(err).Msg("spans not taken by the collector; they are dropped until it takes them")
	case e.failing && !failing:
		e.log.Info().Msg("spans taken by the collector again")
	}
	e.failing = err != nil
	clear(e.batch)
	e.batch = e.batch[:0]
}

// collect puts the spans that have ended into the batch.
type collect struct{ e *Exporter }

// OnStart implements the SDK's SpanProcessor.
func (collect) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements the SDK's SpanProcessor.
func (c collect) OnEnd(s sdk.ReadOnlySpan) { c.e.batch = append(c.e.batch, s) }

// Shutdown implements the SDK's SpanProcessor.
func (collect) Shutdown(context.Context) error { return nil }

// ForceFlush implements the SDK's SpanProcessor.
func (collect) ForceFlush(context.Context) error { return nil }
