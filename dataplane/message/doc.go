// Package message is the syntax of HTTP messages: header fields, the framing of
// bodies, the lines of HTTP/1.1 (RFC 9110, RFC 9112).
//
// All of it is functions of bytes, without sockets, clocks or allocation. It is
// strict: what two parsers could read differently is an error. Both versions of
// HTTP use it, on the side of clients and on that of endpoints.
package message
