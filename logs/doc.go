// Package logs writes the log of a node with zerolog: JSON lines, or a readable
// form on a terminal.
//
// Writers never block: lines are copied to a buffer in memory, which a goroutine
// writes out in batches. Lines that find the buffer full are dropped and counted.
// Access lines and events have separate buffers, so that a flood of one does not
// displace the other; lines of different kinds from the same few milliseconds may
// therefore be out of order.
package logs
