package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

func FuzzParseLink(f *testing.F) {
	whole := link{
		hop: 1, node: []byte("eu-1"), region: []byte("eu"), upstream: []byte("orders"), route: []byte("r"), tenant: []byte("acme"), version: 12,
		priority: failover.High, attempt: 2, deadline: 2950 * time.Millisecond, client: netip.MustParseAddr("2001:db8::1"),
	}
	f.Add(whole.append(nil))
	f.Add([]byte("hop=1;node=a;region=b;upstream=c;colour=blue"))
	f.Add([]byte("hop=99999999999999999999;;=;node"))
	f.Fuzz(func(t *testing.T, value []byte) {
		l, err := parseLink(value)
		if err != nil {
			return
		}
		again, err := parseLink(l.append(nil))
		if err != nil || string(again.append(nil)) != string(l.append(nil)) {
			t.Errorf("%q reads as %+v and again as %+v, %v", value, l, again, err)
		}
	})
}
