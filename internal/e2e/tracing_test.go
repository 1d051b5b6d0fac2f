package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/meshgw/meshgw/internal/collector"
)

// getTraced asks a node with a traceparent, whose trace it returns.
func (p *process) getTraced(path string, trace int, sampled bool) (id string, status int, err error) {
	id = fmt.Sprintf("%032x", trace)
	flags := "00"
	if sampled {
		flags = "01"
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+p.listen.HTTP+path, nil)
	if err != nil {
		return id, 0, err
	}
	req.Header.Set("traceparent", "00-"+id+"-00000000000000aa-"+flags)
	resp, err := client.Do(req)
	if err != nil {
		return id, 0, err
	}
	return id, resp.StatusCode, resp.Body.Close()
}

// hops reports an error unless the spans of a trace are those of a request that
// came in at the first node and was sent on to the second, each below the other.
func hops(spans []collector.Span, nodes ...string) error {
	byID := map[string]collector.Span{}
	for _, s := range spans {
		byID[s.ID] = s
	}
	served := map[string]int{}
	for _, s := range spans {
		above, known := byID[s.Parent]
		switch node := s.Node["meshgw.node"].(string); {
		case s.Server && node == nodes[0] && s.Parent != "00000000000000aa":
			return fmt.Errorf("the first hop is below %q: %+v", s.Parent, s)
		case s.Server && node != nodes[0] && (!known || above.Server || above.Attributes["meshgw.endpoint"] != "mesh://"+node):
			return fmt.Errorf("a further hop is not below the try that was sent there: %+v", s)
		case !s.Server && (!known || !above.Server || above.Node["meshgw.node"] != node):
			return fmt.Errorf("a try is not below its own node's hop: %+v", s)
		case s.Server:
			served[node]++
		}
	}
	for _, node := range nodes {
		if served[node] != 1 {
			return fmt.Errorf("%d hops at %s of %d spans", served[node], node, len(spans))
		}
	}
	return nil
}

func TestTracesOfAllHopsReachTheCollector(t *testing.T) {
	t.Parallel()
	c := &collector.Collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	w := newWorld(t)
	up := startEndpoint(t, 0)
	file := w.upstreamFile(map[string][]*endpoint{"us": {up}})
	us := w.start("us-1", append(w.secured("us-1"), "--region", "us", "--routes", file, "--otlp", server.URL, "--trace-ratio", "0")...)
	eu := w.start("eu-1", append(w.secured("eu-1"), "--region", "eu", "--join", us.listen.Gossip, "--otlp", server.URL, "--trace-ratio", "0")...)
	allSee(t, 15*time.Second, us, eu)
	serve(t, eu)
	haveRoom(t, "us", eu)

	whole := func(what, id string, spans int) {
		t.Helper()
		eventually(t, 10*time.Second, what, func() error {
			if got := c.Of(id); len(got) < spans { // a try that found no connection in time is one more
				return fmt.Errorf("%d spans: %+v", len(got), got)
			}
			return hops(c.Of(id), "eu-1", "us-1")
		})
	}
	id, status, err := eu.getTraced("/orders", 1, true)
	if err != nil || status != http.StatusOK {
		t.Fatalf("status %d, %v", status, err)
	}
	whole("two hops and their tries are there", id, 4)

	quiet, status, err := eu.getTraced("/orders", 2, false)
	if err != nil || status != http.StatusOK {
		t.Fatalf("status %d, %v", status, err)
	}
	up.kill()
	failed, status, err := eu.getTraced("/orders", 3, false)
	if err != nil || status < 500 {
		t.Fatalf("status %d, %v", status, err)
	}
	eventually(t, 10*time.Second, "a failure is traced, though not sampled", func() error { return hops(c.Of(failed), "eu-1", "us-1") })
	if spans := c.Of(quiet); len(spans) > 0 {
		t.Errorf("what neither failed nor is sampled was traced: %+v", spans)
	}

	server.CloseClientConnections()
	server.Close()
	if _, _, err := eu.getTraced("/orders", 4, true); err != nil {
		t.Errorf("without a collector: %v", err)
	}
	eu.terminate()
	if code := eu.end(15 * time.Second); code != 0 {
		t.Errorf("a node without its collector ended with %d", code)
	}
}
