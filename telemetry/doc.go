// Package telemetry keeps what a node saw of its requests, for those who ask
// later: a bounded ring of decision records, found by request id, and the rates
// and durations of the last seconds by route, in sketches that add up over nodes.
package telemetry
