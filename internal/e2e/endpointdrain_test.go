package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is sent once only, a POST, fails where its endpoint dies meanwhile: none does
// after a drain said that the endpoint can be stopped.
func TestADrainedEndpointCanBeKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := startEndpoint(t, 100*time.Millisecond), startEndpoint(t, 100*time.Millisecond)
	routes := w.save("routes.yaml", fmt.Appendf(nil, `upstreams: [{name: all, failover: {enabled: false}, endpoints: [{url: "http://%s"}, {url: "http://%s"}]}]
routes: [{name: all, upstream: all}]
`, one.addr, two.addr))
	a := w.start("a", "--routes", routes)
	b, c := w.start("b", "--join", a.listen.Gossip), w.start("c", "--join", a.listen.Gossip)
	allSee(t, 15*time.Second, a, b, c)
	serve(t, a, b, c)
	load := startLoad(t, http.MethodPost, "/", 60, a, b, c)
	url, admin := "http://"+one.addr, "http://"+b.listen.Admin
	for range 2 {
		if out := w.run("meshgw", "endpoint", "drain", url, "--admin", admin); !strings.Contains(out, "can be stopped: none of 3 nodes sends to it") {
			t.Errorf("drain: %s", out)
		}
		one.kill()
		before := len(load.soFar())
		eventually(t, 10*time.Second, "requests go on", func() error {
			if n := len(load.soFar()) - before; n < 30 {
				return fmt.Errorf("%d answered", n)
			}
			return nil
		})
		one.start()
		w.run("meshgw", "endpoint", "undrain", url, "--admin", admin)
	}
	if results := load.stop(); count(results, failed) > 0 {
		t.Errorf("%d of %d requests failed", count(results, failed), len(results))
	}
	_ = c.cmd.Process.Signal(syscall.SIGSTOP) // and may send to it once it goes on
	defer func() { _ = c.cmd.Process.Signal(syscall.SIGCONT) }()
	out, err := w.try("meshgw", "endpoint", "drain", url, "--admin", admin, "--timeout", "1s")
	if exitCode(err) != 1 || !strings.Contains(out, "c does not answer and may send to it") {
		t.Errorf("beside a node that does not answer: exit %d, %s", exitCode(err), out)
	}
	if out, err := w.try("meshgw", "endpoint", "drain", "http://192.0.2.1", "--admin", admin); exitCode(err) != 1 || !strings.Contains(out, "no upstream has an endpoint") {
		t.Errorf("of no upstream: exit %d, %s", exitCode(err), out)
	}
}
