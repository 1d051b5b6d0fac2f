// Package upstream is the client side of the proxy: connections to one endpoint, over
// which requests are sent and answers are read.
//
// Pool has the slots of the endpoint, a fair queue for them, and the idle connections
// of HTTP/1.1. Conn is one such connection and Answer what is read from it: a proxy has
// to know what was written, to read early answers and to pass on that an answer was
// cut off. HTTP2Pool has the connections of HTTP/2, whose frames are net/http's.
//
// What is sent, to which endpoint, and whether to try again is decided by dataplane.
package upstream
