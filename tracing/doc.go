// Package tracing sends what was seen of requests to a collector, as
// OpenTelemetry spans over OTLP.
//
// Spans are made after the fact, from the record of a request: one for the
// request at this node, one for each try below it. So a request that is not
// traced costs nothing, and one that is costs its copy; the rest is done by the
// exporter's own goroutine. What the collector does not take in time is dropped
// and counted: nothing here makes a request wait.
package tracing
