package dataplane_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

// lines takes the lines of a log apart.
func lines(t *testing.T, log string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(log) {
		var fields map[string]any
		d := json.NewDecoder(strings.NewReader(line))
		if err := d.Decode(&fields); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if strings.Count(line, `":`) != len(fields) {
			t.Errorf("a field is there twice: %s", line)
		}
		all = append(all, fields)
	}
	return all
}

func TestTheAccessLineHasAllFieldsOfTheSchema(t *testing.T) {
	up := startRecorder(t, nil)
	spec := toUpstream(up.addr)
	spec.Tenants = []routetable.Tenant{{Name: "acme", Identify: &routetable.Identify{Header: "x-tenant", Value: "acme"}}}
	var text bytes.Buffer
	log := zerolog.New(&text).With().Timestamp().Str("node", "n1").Str("region", "eu").Logger()
	g := startGateway(t, dataplane.Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AccessLog: dataplane.AccessLog{Log: &log}}, spec)
	g.dial(t).send("POST /a?token=1 HTTP/1.1\r\nHost: example.com\r\nX-Tenant: acme\r\nX-Forwarded-For: 192.0.2.7\r\nX-Request-Id: r-1\r\nContent-Length: 3\r\n\r\nabc").answer("POST")
	g.stop()
	line := lines(t, text.String())[0]
	for field, want := range map[string]any{
		"level": "info", "message": "request", "request_id": "r-1", "node": "n1", "region": "eu", "route": "all", "tenant": "acme", "upstream": "up",
		"endpoint": "http://" + up.addr, "served_region": "eu", "method": "POST", "host": "example.com", "path": "/a", "status": 200.0,
		"attempts": 1.0, "bytes_in": 3.0, "bytes_out": 2.0, "client_ip": "192.0.2.7", "protocol": "HTTP/1.1", "error": "",
	} {
		if line[field] != want {
			t.Errorf("%s = %v, want %v", field, line[field], want)
		}
	}
	for _, field := range []string{"duration_ms", "upstream_ms"} {
		if n, ok := line[field].(float64); !ok || n <= 0 {
			t.Errorf("%s = %v", field, line[field])
		}
	}
	if id, _ := line["trace_id"].(string); len(id) != 32 || line["time"] == nil {
		t.Errorf("line %v", line)
	}
	if len(line) != 24 {
		t.Errorf("%d fields: %v", len(line), line)
	}
}

func TestALineOfARequestThatMeetsNothingHasTheSameFields(t *testing.T) {
	g := startGateway(t, dataplane.Config{}, &routetable.Spec{})
	g.dial(t).send(get).answer("GET")
	g.stop()
	line := lines(t, g.log.String())[0]
	for field, want := range map[string]any{"route": "", "upstream": "", "tenant": "", "endpoint": "", "served_region": "", "error": "no_route"} {
		if line[field] != want {
			t.Errorf("%s = %v, want %q", field, line[field], want)
		}
	}
}

func TestSlowRequestsAreLoggedWhateverTheRatio(t *testing.T) {
	up := startRecorder(t, nil)
	for slow, logged := range map[time.Duration]bool{time.Nanosecond: true, time.Hour: false} {
		g := startGateway(t, dataplane.Config{AccessLog: dataplane.AccessLog{Ratio: 1e-12, Slow: slow}}, toUpstream(up.addr))
		g.dial(t).send(get).answer("GET")
		g.stop()
		if got := strings.Contains(g.log.String(), `"status":200`); got != logged {
			t.Errorf("slow from %v: logged %v", slow, got)
		}
	}
}

// Whatever clients and endpoints send as a secret, and however it goes wrong,
// nothing of it is in the log.
func TestCredentialsAreNotLogged(t *testing.T) {
	t.Parallel()
	up := startRecorder(t, nil)
	spec := toUpstream(up.addr, "127.0.0.1:1") // one that cannot be reached
	spec.Routes[0].Auth = []routetable.Auth{{Forward: &routetable.ForwardAuth{URL: "http://127.0.0.1:1/check?key=s3cret"}}, {APIKey: &routetable.APIKey{}}}
	spec.Routes = append(spec.Routes, routetable.Route{Name: "open", Hosts: []string{"open"}, Upstream: "up"})
	g := startGateway(t, dataplane.Config{}, spec)
	fields := "Authorization: Bearer s3cret\r\nProxy-Authorization: Basic s3cret\r\nCookie: session=s3cret\r\nX-Api-Key: s3cret\r\nReferer: http://h/?s3cret\r\nX-Meshgw-Link: s3cret\r\n"
	for _, request := range []string{
		"GET /a?access_token=s3cret HTTP/1.1\r\nHost: open\r\n" + fields + "\r\n",
		"GET /a?access_token=s3cret HTTP/1.1\r\nHost: guarded\r\n" + fields + "\r\n",
		"GET http://me:s3cret@open/ HTTP/1.1\r\nHost: open\r\n" + fields + "\r\n",
		"GET /a?x=s3cret HTTP/1.1\r\nHost: me:s3cret@open\r\n" + fields + "\r\n",
		"GET /a HTTP/1.1\r\nHost: open\r\nX-Request-Id: s3cret s3cret\r\nTraceparent: s3cret\r\nContent-Length: s3cret\r\n\r\n",
		"GET /a?s3cret HTTP/9.9\r\nHost: open\r\n\r\n",
	} {
		c := g.dial(t).send(request)
		c.answer("GET")
	}
	g.stop()
	if log := g.log.String(); strings.Contains(log, "s3cret") {
		t.Errorf("a secret is in the log:\n%s", log)
	}
	if statuses := lines(t, g.log.String()); !slices.ContainsFunc(statuses, func(l map[string]any) bool { return l["status"] == 200.0 }) {
		t.Error("nothing was served")
	}
}
