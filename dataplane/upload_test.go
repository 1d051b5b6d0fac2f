package dataplane_test

import (
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
	idle := routetable.Duration(50 * time.Millisecond)
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
