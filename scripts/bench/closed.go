//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// closedLoad asks for large answers over so many connections, each again as soon
// as it is answered, on one thread. wrk reads 8 KiB at a time and copies them, and
// is then what limits all proxies; here the kernel throws bodies away (MSG_TRUNC,
// tcp(7)).
type closedLoad struct {
	request []byte
	epoll   int
	asked   map[int]*asked
	took    []time.Duration
	bad     int
}

// asked is one connection: when it asked, and what is still to come, -1 where that
// is the head.
type asked struct {
	at   time.Time
	left int
}

func closed(args []string) error {
	runtime.LockOSThread()
	f := flag.NewFlagSet("closed", flag.ContinueOnError)
	addr, host, path := f.String("addr", "", ""), f.String("host", "localhost", ""), f.String("path", "/64k", "")
	conns, length := f.Int("conns", 64, ""), f.Duration("for", 3*time.Second, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	l := &closedLoad{request: []byte("GET " + *path + " HTTP/1.1\r\nHost: " + *host + "\r\n\r\n"), asked: map[int]*asked{}}
	var err error
	if l.epoll, err = unix.EpollCreate1(0); err != nil {
		return err
	}
	for range *conns {
		if err := l.connect(*addr); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := l.run(began.Add(*length)); err != nil {
		return err
	}
	elapsed := time.Since(began).Seconds()
	slices.Sort(l.took)
	run := loadRun{Requests: float64(len(l.took)), Rate: float64(len(l.took)) / elapsed, Bad: float64(l.bad)}
	if n := len(l.took); n > 0 {
		run.P99 = ms(l.took[n*99/100])
	}
	return json.NewEncoder(os.Stdout).Encode(run)
}

func (l *closedLoad) connect(addr string) error {
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		return err
	}
	file, err := c.(*net.TCPConn).File() //nolint:forcetypeassert // it is
	if err != nil {
		return err
	}
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		return err
	}
	_, _ = file.Close(), c.Close()
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	l.asked[fd] = &asked{}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return err
	}
	return l.ask(fd)
}

func (l *closedLoad) ask(fd int) error {
	a := l.asked[fd]
	a.at, a.left = time.Now(), -1
	_, err := unix.Write(fd, l.request)
	return err
}

func (l *closedLoad) run(until time.Time) error {
	events, buf := make([]unix.EpollEvent, 128), make([]byte, 128<<10)
	for time.Now().Before(until) {
		n, err := unix.EpollWait(l.epoll, events, 1000)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if err := l.read(int(e.Fd), buf); err != nil {
				return err
			}
		}
	}
	return nil
}

// read takes what has come, and asks again where that was the rest.
func (l *closedLoad) read(fd int, buf []byte) error {
	a, flags := l.asked[fd], unix.MSG_TRUNC
	if a.left < 0 {
		buf, flags = buf[:1<<10], 0
	}
	n, _, err := unix.Recvfrom(fd, buf, flags)
	switch {
	case err == unix.EAGAIN:
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return fmt.Errorf("a connection was closed after %d answers", len(l.took))
	case a.left >= 0:
		a.left -= n
	default:
		head, body, whole := bytes.Cut(buf[:n], []byte("\r\n\r\n"))
		_, length, _ := bytes.Cut(bytes.ToLower(head), []byte("\r\ncontent-length: "))
		length, _, _ = bytes.Cut(length, []byte("\r\n"))
		size, err := strconv.Atoi(string(length))
		if !whole || err != nil {
			return fmt.Errorf("no head with a length in one piece: %q", buf[:n])
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 2")) {
			l.bad++
		}
		a.left = size - len(body)
	}
	if a.left > 0 {
		return nil
	}
	l.took = append(l.took, time.Since(a.at))
	return l.ask(fd)
}
