//go:build linux

package main

import (
	"io"
	"net/http"
	"slices"
)

// seeing measures what it costs to see: a line for each request in a file, and
// one trace in a hundred sent to a collector, against neither. Metrics, and the
// memory that meshgw trace looks into, are always on.
func (b *bench) seeing() error {
	meshgw := b.meshgw()
	if meshgw == nil {
		return nil
	}
	const collector = "127.0.0.1:9201"
	if _, err := b.start(loadCore, b.self, "sink", collector); err != nil {
		return err
	}
	if err := reachable(collector); err != nil {
		return err
	}
	variant := func(name string, seen ...string) *peer {
		p := meshgw.variant(name, nil)
		p.binary = "sh" // to have the log in a file, as services have it
		p.command = func(s *setup) ([]string, error) {
			args, err := meshgwAgent(s)
			return slices.Concat([]string{"-c", `exec "$@" 2>> "$0"`, s.Dir + "/log", meshgw.binary}, args, seen), err
		}
		return p
	}
	return b.loadAll([]*peer{
		variant("all off", "--access-log", "off"),
		variant("access log to a file", "--access-log", "all"),
		variant("1 % of traces", "--access-log", "off", "--otlp", "http://"+collector, "--trace-ratio", "0.01"),
		variant("both", "--access-log", "all", "--otlp", "http://"+collector, "--trace-ratio", "0.01"),
	}, false, small(), "all off")
}

// sink takes whatever is sent to it.
func sink(args []string) error {
	return http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("content-type", "application/x-protobuf")
	}))
}
