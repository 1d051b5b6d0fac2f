// Package grpc is what a proxy has to know of gRPC over HTTP/2: statuses,
// deadlines, the sizes of messages and the messages of its health protocol. It
// neither sends nor receives, and imports no gRPC library: those decode the calls
// that a proxy passes on as bytes.
//
// See github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
package grpc
