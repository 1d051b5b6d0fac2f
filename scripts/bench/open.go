//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// loaded is what the clients of an open load saw.
type loaded struct {
	Sent, Failed  int
	Kinds         map[string]int // of failures
	IdleClosed    int            // connections that ended while nothing was asked
	P50, P99, Max float64        // ms from when a request was due
	P999          float64
	LastFailure   float64   // seconds from the start; 0 = none
	Worst         []float64 // ms, by tenth of a second in which it was due
}

// load sends requests at a fixed rate, whatever becomes of them, over a number
// of connections.
type load struct {
	addr, request string
	patience      time.Duration
	start         time.Time
	warm          time.Duration

	mu    sync.Mutex // guards the rest
	took  []time.Duration
	found loaded
}

func open(args []string) error {
	f := flag.NewFlagSet("open", flag.ContinueOnError)
	addr, host, path := f.String("addr", "", ""), f.String("host", "localhost", ""), f.String("path", "/1k", "")
	rate, conns := f.Float64("rate", 2000, ""), f.Int("conns", 64, "")
	length, warm := f.Duration("for", 10*time.Second, ""), f.Duration("warm", 0, "")
	patience := f.Duration("patience", 3*time.Second, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	runtime.GOMAXPROCS(4) // the clock's thread sleeps in the kernel, and must not keep the others waiting
	l := &load{addr: *addr, patience: *patience, warm: *warm}
	l.request = "GET " + *path + " HTTP/1.1\r\nHost: " + *host + "\r\n\r\n"
	l.found.Kinds = map[string]int{}
	l.found.Worst = make([]float64, int(*length/(100*time.Millisecond))+1)
	l.run(*rate, *conns, *length)
	return json.NewEncoder(os.Stdout).Encode(l.result())
}

func (l *load) run(rate float64, conns int, length time.Duration) {
	due := make(chan time.Time, int(rate*length.Seconds())+1)
	var clients sync.WaitGroup
	for range conns {
		clients.Go(func() { l.client(due) })
	}
	time.Sleep(200 * time.Millisecond) // all are connected
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	l.start = time.Now()
	for i := range int(rate * length.Seconds()) {
		at := l.start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if wait := time.Until(at); wait > 0 {
			ts := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&ts, nil)
		}
		due <- at
	}
	close(due)
	clients.Wait()
}

// client is one connection at a time.
func (l *load) client(due <-chan time.Time) {
	c, r := l.connect()
	for at := range due {
		if time.Since(at) > l.patience {
			l.failed(at, "no connection free")
			continue
		}
		if c == nil {
			if c, r = l.connect(); c == nil {
				l.failed(at, "connect")
				continue
			}
		}
		if ended(c) {
			l.closedIdle()
			_ = c.Close()
			if c, r = l.connect(); c == nil {
				l.failed(at, "connect")
				continue
			}
		}
		_ = c.SetDeadline(at.Add(l.patience))
		if kind, last := l.exchange(c, r, at); kind != "" || last {
			_ = c.Close()
			c = nil
		}
	}
}

func (l *load) connect() (net.Conn, *bufio.Reader) {
	c, err := net.DialTimeout("tcp4", l.addr, l.patience)
	if err != nil {
		return nil, nil
	}
	return c, bufio.NewReaderSize(c, 4<<10)
}

// ended reports whether the other side has closed an idle connection.
func ended(c net.Conn) (closed bool) {
	raw, err := c.(*net.TCPConn).SyscallConn() //nolint:forcetypeassert // it is
	if err != nil {
		return true
	}
	var b [1]byte
	_ = raw.Control(func(fd uintptr) {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		closed = n == 0 && err == nil || err != nil && !errors.Is(err, unix.EAGAIN)
	})
	return closed
}

// exchange does one request; kind is empty if it was answered well.
func (l *load) exchange(c net.Conn, r *bufio.Reader, at time.Time) (kind string, last bool) {
	status, last, err := l.ask(c, r)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		kind = "timeout"
	case err != nil:
		kind = "closed in flight"
	case status/100 != 2:
		kind = "status " + strconv.Itoa(status)
	}
	if kind != "" {
		l.failed(at, kind)
		return kind, true
	}
	l.answered(at)
	return "", last
}

// ask sends the request and reads the answer, which may be the last.
func (l *load) ask(c net.Conn, r *bufio.Reader) (status int, last bool, err error) {
	if _, err := io.WriteString(c, l.request); err != nil {
		return 0, true, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, true, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Close, errors.Join(err, resp.Body.Close())
}

func (l *load) answered(at time.Time) {
	took := time.Since(at)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found.Sent++
	if at.Sub(l.start) >= l.warm {
		l.took = append(l.took, took)
	}
	slot := &l.found.Worst[int(at.Sub(l.start)/(100*time.Millisecond))]
	*slot = max(*slot, ms(took))
}

func (l *load) failed(at time.Time, kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found.Sent++
	l.found.Failed++
	l.found.Kinds[kind]++
	l.found.LastFailure = max(l.found.LastFailure, at.Sub(l.start).Seconds())
}

func (l *load) closedIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found.IdleClosed++
}

func (l *load) result() loaded {
	slices.Sort(l.took)
	quantile := func(q float64) float64 {
		if len(l.took) == 0 {
			return 0
		}
		return ms(l.took[min(len(l.took)-1, int(q*float64(len(l.took))))])
	}
	f := &l.found
	f.P50, f.P99, f.P999, f.Max = quantile(.5), quantile(.99), quantile(.999), quantile(1)
	return *f
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// hold opens connections, asks once over each, says so and holds them until its
// input ends.
func hold(args []string) error {
	f := flag.NewFlagSet("hold", flag.ContinueOnError)
	addr, host, path := f.String("addr", "", ""), f.String("host", "localhost", ""), f.String("path", "/1k", "")
	n := f.Int("n", 0, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	l := &load{addr: *addr, request: "GET " + *path + " HTTP/1.1\r\nHost: " + *host + "\r\n\r\n"}
	var held []net.Conn
	for i := range *n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%8))}} // ports of one address may not do
		c, err := d.Dial("tcp4", *addr)
		if err != nil {
			return err
		}
		if _, _, err := l.ask(c, bufio.NewReader(c)); err != nil {
			return err
		}
		held = append(held, c)
	}
	fmt.Println(len(held))
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
