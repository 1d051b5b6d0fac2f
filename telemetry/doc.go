// Package telemetry keeps what a node saw of its requests, for those who ask
// later: a bounded ring of decision records, found by request id.
package telemetry
