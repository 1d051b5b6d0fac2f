// Package tracing exports requests to a collector, as OpenTelemetry spans over OTLP.
//
// Spans are made after the fact, from the record of a request: one for the request
// at this node, and one for each try below it. A request that is not traced costs
// nothing, and one that is costs a copy; the exporter's goroutine does the rest.
// What the collector does not accept in time is dropped and counted: no request
// waits for it.
package tracing
