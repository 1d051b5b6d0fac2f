package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// arrival is between two of them: a thousand at once are a burst of thousands of
// requests, which is another thing to measure.
const arrival = 5 * time.Millisecond

// slowClients opens connections to a node: half send a request at a byte a
// second, half ask twenty times at once for more than fits the buffers and never
// read. They last as long as the scenario.
func (w *world) slowClients(words []string) error {
	a := parseArgs(words)
	n, err := strconv.Atoi(a.options["count"])
	if err != nil || len(a.names) != 1 {
		return errors.New("want a node and count=N")
	}
	return w.each(a.names, func(m *machine) error {
		opened := 0
		for i := range n {
			c, err := net.DialTimeout("tcp", m.http(), 5*time.Second)
			if err != nil {
				w.measured("connection %d: %v", i, err)
				break
			}
			opened++
			time.Sleep(arrival)
			go w.dawdle(c, i%2 == 0)
		}
		w.measured("%d connections", opened)
		return nil
	})
}

// dawdle uses a connection as slowly as can be, until the scenario ends.
func (w *world) dawdle(c net.Conn, sending bool) {
	defer func() { _ = c.Close() }()
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: slow\r\nx-filler: %0500d\r\n\r\n", slowPath, 0)
	if !sending {
		_, _ = c.Write([]byte(strings.Repeat(request, 20)))
		<-w.ctx.Done()
		return
	}
	for i := range len(request) {
		if _, err := c.Write([]byte{request[i]}); err != nil {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-w.ctx.Done():
			return
		}
	}
}
