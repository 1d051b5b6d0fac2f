package dataplane_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/routetable"
)

const srvName = "_http._tcp.orders.test."

// nameServer is a DNS server that knows the records of one name.
type nameServer struct {
	config *dns.ClientConfig
	stop   func()

	mu      sync.Mutex // guards the rest
	records []*dns.SRV
	rcode   int
	asked   int
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	packets, streams := listenBoth(t)
	_, port, _ := net.SplitHostPort(packets.LocalAddr().String())
	n := &nameServer{config: &dns.ClientConfig{Servers: []string{"127.0.0.1"}, Port: port, Ndots: 1}}
	var serving sync.WaitGroup
	servers := []*dns.Server{{PacketConn: packets, Handler: n}, {Listener: streams, Handler: n}}
	for _, s := range servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		serving.Go(func() { _ = s.ActivateAndServe() })
		<-started
	}
	n.stop = sync.OnceFunc(func() {
		for _, s := range servers {
			_ = s.Shutdown()
		}
		serving.Wait()
	})
	t.Cleanup(n.stop)
	return n
}

// listenBoth listens on one port by UDP and TCP: what is free for the one may be
// taken for the other.
func listenBoth(t *testing.T) (packets net.PacketConn, streams net.Listener) {
	t.Helper()
	for range 20 {
		var err error
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if streams, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			return packets, streams
		}
		packets.Close()
	}
	t.Fatal("no port is free for both")
	return nil, nil
}

// set makes the server answer these records from now on, or none with rcode.
func (n *nameServer) set(rcode int, records ...*dns.SRV) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rcode, n.records = rcode, records
}

func (n *nameServer) questions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// ServeDNS implements dns.Handler.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	m := new(dns.Msg).SetReply(question)
	if m.Rcode = n.rcode; question.Question[0].Name != srvName {
		m.Rcode = dns.RcodeNameError
	}
	if m.Rcode == dns.RcodeSuccess {
		for _, r := range n.records {
			m.Answer = append(m.Answer, r)
		}
	}
	if _, stream := w.LocalAddr().(*net.TCPAddr); !stream {
		m.Truncate(1232)
	}
	_ = w.WriteMsg(m)
}

// record is that of an endpoint.
func record(addr string, priority, weight uint16) *dns.SRV {
	host, text, _ := net.SplitHostPort(strings.TrimPrefix(addr, "http://"))
	port, _ := strconv.ParseUint(text, 10, 16)
	return &dns.SRV{
		Hdr:    dns.RR_Header{Name: srvName, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 1},
		Target: host + ".", Port: uint16(port), Priority: priority, Weight: weight,
	}
}

// named starts an endpoint that answers its name.
func named(t *testing.T, name string) *httptest.Server {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name, r.URL.Path) }))
	t.Cleanup(up.Close)
	return up
}

func bySRV(url string) *routetable.Spec {
	spec := toUpstream()
	spec.Upstreams[0].Endpoints = []routetable.Endpoint{{URL: url}}
	spec.Upstreams[0].Balance = &routetable.Balance{Policy: "round_robin"}
	return spec
}

// got asks n times and counts the answers.
func (g *gateway) got(t *testing.T, n int) map[string]int {
	t.Helper()
	c, count := g.dial(t), map[string]int{}
	for range n {
		a, body, _ := c.send("GET /x HTTP/1.1\r\nhost: a\r\n\r\n").answer("GET")
		if a.StatusCode != 200 {
			body = a.Header.Get("x-meshgw-error")
		}
		count[body]++
	}
	return count
}

func TestEndpointsAreFoundBySRVRecords(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	a, b, reserve := named(t, "a"), named(t, "b"), named(t, "reserve")
	names.set(dns.RcodeSuccess, record(a.URL, 10, 3), record(b.URL, 10, 1), record(reserve.URL, 20, 100))
	spec := bySRV("dnssrv+http://_http._tcp.orders.test/base")
	spec.Upstreams[0].Retries = &routetable.Retries{Attempts: 3} // the third behind both of the first priority
	g := startGateway(t, dataplane.Config{DNS: names.config}, spec)
	if got := g.got(t, 40); got["a/base/x"] != 30 || got["b/base/x"] != 10 {
		t.Errorf("weights 3 and 1: got %v", got)
	}
	a.Close()
	b.Close()
	if got := g.got(t, 40); got["reserve/base/x"] != 40 {
		t.Errorf("with the others dead: got %v", got)
	}
	weights := map[string]int{}
	for _, e := range g.Upstreams() {
		weights[e.Endpoint] = e.Weight
	}
	if weights[a.URL+"/base"] != 300 || weights[reserve.URL+"/base"] != 10000 || len(weights) != 3 {
		t.Errorf("the status shows %v", weights)
	}
}

func TestSRVRecordsAreFollowedAndTheLastGoodKept(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	a, b := named(t, "a"), named(t, "b")
	names.set(dns.RcodeSuccess, record(a.URL, 0, 0))
	g := startGateway(t, dataplane.Config{DNS: names.config}, bySRV("dnssrv+http://_http._tcp.orders.test"))
	if got := g.got(t, 5); got["a/x"] != 5 {
		t.Fatalf("got %v", got)
	}
	names.set(dns.RcodeSuccess, record(b.URL, 0, 0))
	until(t, "the new record is followed within its lifetime", func() bool { return g.got(t, 1)["b/x"] == 1 })
	for _, fault := range []struct {
		name string
		make func()
		log  string
	}{
		{"no such name", func() { names.set(dns.RcodeNameError) }, "no such name"},
		{"a server that fails", func() { names.set(dns.RcodeServerFailure) }, "SERVFAIL"},
		{"a server that is gone", names.stop, "refused"},
	} {
		fault.make()
		until(t, fault.name+" is in the log", func() bool { return strings.Contains(g.log.String(), fault.log) })
		if got := g.got(t, 5); got["b/x"] != 5 {
			t.Errorf("%s: got %v, want the last good record", fault.name, got)
		}
	}
}

func TestANameWithoutRecordsIsSaidAndAskedForAgain(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	names.set(dns.RcodeNameError)
	g := startGateway(t, dataplane.Config{DNS: names.config}, bySRV("dnssrv+http://_http._tcp.orders.test"))
	if got := g.got(t, 1); got["no_healthy_upstream"] != 1 {
		t.Errorf("got %v", got)
	}
	if e := g.Upstreams()[0]; e.State != "unhealthy" || !strings.Contains(e.Reason, "look up SRV of _http._tcp.orders.test: no such name") {
		t.Errorf("the status says %+v", e)
	}
	up := named(t, "a")
	many := []*dns.SRV{record(up.URL, 0, 0)}
	for i := range 100 { // more than a packet holds
		many = append(many, record(fmt.Sprintf("host-%d.test:80", i), 1, 0))
	}
	names.set(dns.RcodeSuccess, many...)
	until(t, "the name is found", func() bool { return g.got(t, 1)["a/x"] == 1 })
	if n := len(g.Upstreams()); n != 101 {
		t.Errorf("%d endpoints, want all 101 records", n)
	}
	g.publish(t, toUpstream(strings.TrimPrefix(up.URL, "http://")))
	until(t, "nobody asks for a name that no upstream has", func() bool {
		before := names.questions()         // one may be under way
		time.Sleep(1200 * time.Millisecond) // longer than the records live
		return names.questions() == before
	})
}
