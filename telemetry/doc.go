// Package telemetry keeps what a node has seen of its requests: a bounded ring of
// records, found by request id, and the rates and durations of the last seconds by
// route, in sketches that can be added over nodes.
package telemetry
