package dataplane

import (
	"bytes"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/dataplane/message"
)

// Who a client is said to be is the peer, or stands in the list with nobody but
// trusted proxies behind it, and what is sent on of that is one line of each field.
func FuzzForwardedFor(f *testing.F) {
	for _, s := range []string{"192.0.2.7", "1.2.3.4, 10.0.0.2", "[2001:db8::1]:80,10.0.0.2:81", ",, 10.0.0.2 ,", "unknown, 10.0.0.2", "::ffff:10.0.0.2", "fe80::1%a\tb"} {
		f.Add(s, "10.9.9.9")
	}
	s := New(Config{Node: "n", TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, zerolog.Nop(), prometheus.NewRegistry())
	f.Fuzz(func(t *testing.T, first, second string) {
		fields, err := message.ParseFields(nil, []byte("x-forwarded-for: "+first+"\r\nX-Forwarded-For: "+second+"\r\n\r\n"))
		if err != nil || len(fields) != 2 {
			return
		}
		x := &Exchange{Peer: netip.MustParseAddr("10.0.0.1"), Fields: fields, trusted: true}
		want := x.Peer
		hops := strings.Split(string(fields[0].Value)+","+string(fields[1].Value), ",")
		for i := len(hops) - 1; i >= 0 && s.trusts(want); i-- {
			if strings.TrimSpace(hops[i]) == "" && (i == len(hops)-1 && len(fields[1].Value) == 0 || i == 0 && len(fields[0].Value) == 0) {
				continue // an empty field
			}
			ip, ok := forwardedAddr([]byte(strings.Trim(hops[i], " \t")))
			if !ok {
				break
			}
			want = ip
		}
		if got := s.clientBehindProxies(x); got != want {
			t.Fatalf("%q, %q: %v, want %v", first, second, got, want)
		}
		sent := s.appendForwarded(nil, x)
		again, err := message.ParseFields(nil, append(sent, "\r\n"...))
		if err != nil || len(again) != 2 || !bytes.HasSuffix(again[0].Value, []byte("10.0.0.1")) {
			t.Fatalf("%q, %q is sent on as %q: %v", first, second, sent, err)
		}
	})
}

// A route that asks for a value of the query sees what net/url does.
func FuzzQueryValue(f *testing.F) {
	for _, s := range []string{"a=b", "b=1&a=%41+c&a=2", "%61", "a&&=", "a=%zz", "a=b=c"} {
		f.Add(s, "a")
	}
	f.Fuzz(func(t *testing.T, query, name string) {
		all, err := url.ParseQuery(query)
		if err != nil {
			return // to it; ours keeps what is no escape
		}
		x := &Exchange{Query: []byte(query), scratch: &scratch{}}
		value, ok := x.queryValue(name)
		if name != "" && (ok != all.Has(name) || string(value) != all.Get(name)) {
			t.Fatalf("%q in %q: %q, %v, of net/url %q, %v", name, query, value, ok, all.Get(name), all.Has(name))
		}
	})
}
