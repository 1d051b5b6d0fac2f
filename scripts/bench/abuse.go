//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attacks are what one client does over HTTP/2, again and again.
func attacks() map[string]func(*attacker) error {
	return map[string]func(*attacker) error{
		"20,000 streams, each reset at once":         (*attacker).resets,
		"100 answers of 64 KiB, window never opened": (*attacker).window,
		"fields over the limit":                      (*attacker).fields,
	}
}

// abuse measures what others feel of clients that abuse HTTP/2.
func (b *bench) abuse() error {
	const rate, length = 1000, 5 * time.Second
	for i, p := range b.peers {
		if p.name != "meshgw" {
			continue
		}
		upstreams, _, err := b.startBackends(1)
		if err != nil {
			return err
		}
		run, err := b.launch(p, i, false, upstreams)
		if err != nil {
			return err
		}
		names := append([]string{"nothing"}, slices.Sorted(maps.Keys(attacks()))...)
		got := samples{}
		for range b.rounds {
			for _, name := range names {
				if err := b.beside(run, name, got, rate, length); err != nil {
					return err
				}
			}
		}
		table(fmt.Sprintf("%d requests/s of others beside one client that abuses HTTP/2, %d rounds of %v", rate, b.rounds, length),
			"it does", "p99 of others, ms", "to nothing", "failed", "memory more, MiB", "its connections that were closed")
		for _, name := range names {
			row(name, fmt.Sprintf("%.2f", got.median(name, "p99")), fmt.Sprintf("%.2f", got.ratio(name, "p99", "nothing")), fmt.Sprintf("%.0f", got.median(name, "failed")),
				fmt.Sprintf("%.1f", got.median(name, "more")), fmt.Sprintf("%.0f", got.median(name, "closed")))
		}
	}
	return nil
}

// beside loads run while an attack lasts.
func (b *bench) beside(run *process, name string, got samples, rate float64, length time.Duration) error {
	before := run.memory()
	var says bytes.Buffer
	attack := exec.CommandContext(b.ctx, "taskset", "-c", loadCore, "nice", "-n", "19", b.self, "attack", name, run.setup.HTTP2, (length + time.Second).String())
	attack.Stdout = &says
	if name != "nothing" {
		if err := attack.Start(); err != nil {
			return err
		}
	}
	found, err := b.openLoad(run, rate, length, time.Second, nil)
	if err != nil {
		return err
	}
	got.add(name, "more", (run.memory()-before)/1024)
	if name != "nothing" {
		if err := attack.Wait(); err != nil {
			return fmt.Errorf("attack: %w", err)
		}
	}
	closed, _ := strconv.ParseFloat(strings.TrimSpace(says.String()), 64)
	got.add(name, "closed", closed)
	got.add(name, "p99", found.P99)
	got.add(name, "failed", float64(found.Failed))
	return nil
}

// attack is the client: its arguments are what it does, to whom, and for how long.
// It prints how many of its connections were closed.
func attack(args []string) error {
	act := attacks()[args[0]]
	length, err := time.ParseDuration(args[2])
	if act == nil || err != nil {
		return fmt.Errorf("attack %q for %q", args[0], args[2])
	}
	closed := 0
	for until := time.Now().Add(length); time.Now().Before(until); {
		a, err := newAttacker(args[1], until)
		if err != nil {
			return err
		}
		if err := act(a); err != nil {
			closed++
		}
		_ = a.Close()
	}
	fmt.Println(closed)
	return nil
}

// attacker is one connection of its.
type attacker struct {
	net.Conn
	*http2.Framer
	until time.Time
	ended chan struct{} // by the other side
}

func newAttacker(addr string, until time.Time) (*attacker, error) {
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		return nil, err
	}
	a := &attacker{Conn: c, Framer: http2.NewFramer(c, nil), until: until, ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		_, _ = io.Copy(io.Discard, c)
	}()
	_, err = io.WriteString(c, http2.ClientPreface)
	return a, errors.Join(err, a.WriteSettings())
}

// get opens the n-th stream.
func (a *attacker) get(n int, path string, fields ...hpack.HeaderField) (stream uint32, err error) {
	var head bytes.Buffer
	e := hpack.NewEncoder(&head)
	e.SetMaxDynamicTableSize(0)
	for _, f := range append([]hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "localhost"}, {Name: ":path", Value: path}}, fields...) {
		_ = e.WriteField(f) // into memory
	}
	stream = uint32(2*n + 1)
	return stream, a.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true})
}

func (a *attacker) resets() error {
	for n := range 20_000 {
		stream, err := a.get(n, "/1k")
		if err == nil {
			err = a.WriteRSTStream(stream, http2.ErrCodeCancel)
		}
		if err != nil || time.Now().After(a.until) {
			return err
		}
	}
	<-a.ended
	return io.EOF
}

func (a *attacker) window() error {
	if err := a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		return err
	}
	for n := range 100 {
		if _, err := a.get(n, "/64k"); err != nil {
			return err
		}
	}
	select {
	case <-a.ended:
		return io.EOF
	case <-time.After(time.Until(a.until)):
		return nil
	}
}

// fields asks with 12 KiB of fields, of which there are more than are allowed.
func (a *attacker) fields() error {
	var many []hpack.HeaderField
	for i := range 150 {
		many = append(many, hpack.HeaderField{Name: fmt.Sprintf("x-%d", i), Value: strings.Repeat("~", 60)})
	}
	for n := 0; time.Now().Before(a.until); n++ {
		if _, err := a.get(n, "/1k", many...); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}
