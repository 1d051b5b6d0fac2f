package dataplane_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// The end of a body is sent in a time of its own, however long it was waited for.
func TestTheEndOfAnUploadMayComeLate(t *testing.T) {
	up := startRecorder(t, nil)
	spec := toUpstream(up.addr)
	idle := routetable.Duration(200 * time.Millisecond)
	spec.Upstreams[0].Timeouts = &routetable.Timeouts{Idle: &idle}
	c := startGateway(t, dataplane.Config{}, spec).dial(t)
	c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
	eventually(t, "the piece has passed", func() bool { return strings.HasSuffix(up.bytes(), "1\r\nx\r\n") })
	time.Sleep(2 * time.Duration(idle))
	c.send("0\r\n\r\n")
	if a, _, _ := c.answer("POST"); a.StatusCode != 200 {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

// An endpoint that stops to read the body, and says nothing, has as long for an
// answer as one that has read it.
func TestAnEndpointThatReadsNoMoreOfTheBodyTimesOut(t *testing.T) {
	spec := toUpstream(serveConns(t, untilClosed))
	short := routetable.Duration(50 * time.Millisecond)
	spec.Upstreams[0].Timeouts = &routetable.Timeouts{Response: &short, Idle: &short}
	g := startGateway(t, dataplane.Config{}, spec)
	a, _ := overHTTP2(t).ask("POST", "http://"+g.addr+"/", io.MultiReader(strings.NewReader(strings.Repeat("x", 9<<20))))
	if a.StatusCode != 504 {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}
