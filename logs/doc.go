// Package logs is what a node writes its log with: lines of JSON, or for people
// at a terminal, in one schema, by zerolog.
//
// Nobody waits for the disk or for whoever reads: lines are copied into memory,
// and a goroutine of the log's own writes them, many at once. What finds that
// memory full is dropped and counted. Lines about requests and those about events
// have memory of their own, so that a flood of the one displaces none of the
// other; so among those of the same few milliseconds the order is not kept.
package logs
