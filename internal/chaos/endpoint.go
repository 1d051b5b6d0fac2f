package main

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

// slowPath is what clients ask for who do not read the answer.
const slowPath = "/slow"

// beEndpoint serves HTTP at addr until it is killed: every answer says who gave
// it, and takes as long as hold says, checks excepted.
func beEndpoint(addr, name, hold string) error {
	wait, err := time.ParseDuration(hold)
	if err != nil && hold != "" {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // of one test, on a network of its own
		if r.URL.Path != "/healthz" {
			time.Sleep(wait)
		}
		w.Header().Set("x-endpoint", name)
		_, _ = fmt.Fprintf(w, "%s\n", name)
		if r.URL.Path == slowPath { // more than the buffers on its way hold, asked for a few times
			_, _ = w.Write(make([]byte, 64<<10))
		}
	}))
}
