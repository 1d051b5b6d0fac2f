// Package socket is the layer between the data plane and the kernel: TCP
// connections whose reads and writes bypass the Go scheduler's system-call
// bookkeeping, what the kernel knows about the peer, and how many file
// descriptors are left.
//
// It knows no HTTP. On systems other than Linux the calls are the ordinary ones
// of package syscall, and what only Linux can tell is reported as unknown.
package socket
