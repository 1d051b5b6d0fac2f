package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"

	"github.com/meshgw/meshgw/api"
)

// diagnose runs the doctor at a node and returns its lines by name.
func (p *process) diagnose() (checks map[string]api.Check, exit int, err error) {
	out, err := p.w.try("meshgw", "doctor", "-o", "json", "--admin", p.listen.Admin)
	exit = exitCode(err)
	var d api.Diagnosis
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		return nil, exit, fmt.Errorf("exit %d: %w: %s", exit, err, out)
	}
	checks = map[string]api.Check{}
	for _, c := range d.Checks {
		checks[c.Name] = c
	}
	return checks, exit, nil
}

// found returns the finding of a line that is about these nodes and says all of
// that.
func (p *process) found(check string, nodes []string, says ...string) (api.Finding, error) {
	checks, exit, err := p.diagnose()
	if err != nil {
		return api.Finding{}, err
	}
	for _, f := range checks[check].Findings {
		if slices.Equal(f.Nodes, nodes) && !slices.ContainsFunc(says, func(part string) bool { return !strings.Contains(f.What, part) }) {
			if exit != 1 || f.Next == "" {
				return f, fmt.Errorf("exit %d, next %q", exit, f.Next)
			}
			return f, nil
		}
	}
	return api.Finding{}, fmt.Errorf("exit %d, %s: %+v", exit, check, checks[check])
}

func (p *process) finds(t *testing.T, within time.Duration, check string, nodes []string, says ...string) (f api.Finding) {
	t.Helper()
	eventually(t, within, fmt.Sprintf("doctor at %s finds %q of %v", p.name, says, nodes), func() (err error) {
		f, err = p.found(check, nodes, says...)
		return err
	})
	return f
}

// openFiles is how many descriptors a process has open.
func (p *process) openFiles() int {
	p.w.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.w.t.Fatal(err)
	}
	return len(open)
}

// limitFiles bounds the descriptors of a running process, and returns the bound
// before.
func (p *process) limitFiles(most uint64) uint64 {
	p.w.t.Helper()
	var before unix.Rlimit
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		p.w.t.Fatal(err)
	}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: before.Max}, nil); err != nil {
		p.w.t.Fatal(err)
	}
	return before.Cur
}

// Every line is proved by the fault that it looks for, but for the cut link: see
// TestNamespaceOfALinkThatIsCut. Clocks, keys and upstreams' certificates have
// their own test.
func TestTheDoctorFindsEachFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.certificate("b.crt", "b.key")
	dead, slow := startEndpoint(t, 0), startEndpoint(t, 5*time.Second)
	file := filepath.Join(w.dir, "routes.yaml")
	table := fmt.Sprintf(`
upstreams:
  - {name: orders, endpoints: [{url: "http://%s"}]}
  - {name: slow, endpoints: [{url: "http://%s"}], timeouts: {response: 200ms}, retries: {attempts: 1}}
routes:
  - {name: steady, match: [{path: /steady}], respond: {status: 200, body: ok}}
  - {name: orders, match: [{path: /orders}], upstream: orders}
  - {name: slow, match: [{path: /slow}], upstream: slow}
`, dead.addr, slow.addr)
	if err := os.WriteFile(file, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	w.cwd = filepath.Join(w.dir, "with")
	for _, dir := range []string{"with", "without"} {
		if err := os.Mkdir(filepath.Join(w.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err == nil {
		err = os.WriteFile(filepath.Join(w.cwd, "users"), append([]byte("u:"), hash...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	a := w.start("a", "--rpc-auth", "secret", "--routes", file)
	c := w.start("c", "--rpc-auth", "secret", "--join", a.listen.Gossip)
	w.cwd = filepath.Join(w.dir, "without")
	b := w.start("b", "--rpc-auth", "secret", "--join", a.listen.Gossip, "--https", "127.0.0.1:0",
		"--tls-cert", filepath.Join(w.dir, "b.crt"), "--tls-key", filepath.Join(w.dir, "b.key"))
	allSee(t, 15*time.Second, a, b, c)
	eventually(t, 10*time.Second, "a serves", func() error { return a.answers("/steady", "ok") })
	load := startLoad(t, "GET", "/steady", 20, a)
	began := time.Now()
	eventually(t, 15*time.Second, "nothing is wrong", func() error {
		out, err := w.try("meshgw", "doctor", "--admin", c.listen.Admin)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		for _, want := range []string{"1  ok ", "routes", "3 nodes on version 1", "7  ok ", "note: orders cannot fail over: it has one endpoint"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("no %q in %s", want, out)
			}
		}
		return nil
	})

	if _, err := a.client().Apply(t.Context(), []byte("routes:\n  - {name: secret, match: [{path: /secret}], respond: {status: 200}, auth: [{basic: {file: users}}]}\n"), api.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	c.finds(t, 10*time.Second, api.CheckRoutes, []string{"b"}, "route secret is held and not served", "users: no such file")

	dead.kill()
	eventually(t, 2*time.Second, "the breaker is open", func() error { // what fails while the node itself has no CPU is blamed on nobody
		if _, err := a.get("/orders"); err != nil {
			return err
		}
		return out(dead, a)
	})
	c.finds(t, 10*time.Second, api.CheckUpstreams, []string{"a"}, "orders", dead.addr, "cut off by its circuit breaker")

	var got answerOf
	eventually(t, time.Second, "a request to the slow upstream times out", func() (err error) {
		if got, err = b.get("/slow"); err == nil && got.status != 504 {
			err = fmt.Errorf("%+v", got)
		}
		return err
	})
	timeout := c.finds(t, 10*time.Second, api.CheckErrors, []string{"b"}, "1 request: upstream_timeout on route slow to slow")
	if timeout.RequestID != got.header.Get("x-request-id") || timeout.Next != "meshgw trace "+timeout.RequestID {
		t.Errorf("%+v, want the id of %v", timeout, got.header)
	}
	wantIn(t, "the next command", w.run("meshgw", "trace", timeout.RequestID, "--admin", a.listen.Admin), "upstream_timeout", slow.addr)

	w.certificateUntil("b.crt", "b.key", time.Now().Add(-time.Minute))
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.finds(t, 10*time.Second, api.CheckCertificates, []string{"b"}, "the certificate of https for localhost has expired")

	before := b.limitFiles(uint64(b.openFiles()))
	c.finds(t, 15*time.Second, api.CheckLoad, []string{"b"}, "file descriptors are")
	b.limitFiles(before)
	eventually(t, 15*time.Second, "b answers again", func() error {
		checks, _, err := c.diagnose()
		if err == nil && (!checks[api.CheckLoad].OK || !checks[api.CheckMembers].OK) {
			err = fmt.Errorf("%+v", checks)
		}
		return err
	})

	eventually(t, 5*time.Second, "traffic is steady before the jump", func() error {
		checks, _, err := c.diagnose()
		if err == nil && !checks[api.CheckTraffic].OK {
			err = fmt.Errorf("%+v", checks[api.CheckTraffic])
		}
		return err
	})
	time.Sleep(time.Until(began.Add(17 * time.Second))) // a past to judge by
	jump := startLoad(t, "GET", "/steady", 400, a)
	c.finds(t, 10*time.Second, api.CheckTraffic, []string{"a"}, "route steady: ", "times the usual")
	jump.stop()
	load.stop()
	t.Log(w.try("meshgw", "doctor", "--admin", c.listen.Admin))

	if out, err := w.try("meshgw", "doctor", "--admin", "127.0.0.1:9"); exitCode(err) != 2 {
		t.Errorf("out of reach: exit %d, %s", exitCode(err), out)
	}
}

// What goes wrong with time: a clock that runs ahead, a certificate of an endpoint
// that is about to expire, a gossip key that has sealed too much.
func TestTheDoctorFindsWhatTimeDoes(t *testing.T) {
	w := newWorld(t)
	w.certificateUntil("up.crt", "up.key", time.Now().Add(time.Hour/8)) // of an hour and a bit
	pair, err := tls.LoadX509KeyPair(filepath.Join(w.dir, "up.crt"), filepath.Join(w.dir, "up.key"))
	if err != nil {
		t.Fatal(err)
	}
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	up.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	up.StartTLS()
	defer up.Close()
	file := filepath.Join(w.dir, "routes.yaml")
	table := fmt.Sprintf("upstreams:\n  - {name: orders, endpoints: [{url: %q}], tls: {ca: %s, server_name: localhost}}\nroutes: [{name: orders, upstream: orders}]\n", up.URL, filepath.Join(w.dir, "up.crt"))
	if err := os.WriteFile(file, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	a := w.start("a", "--rpc-auth", "secret", "--routes", file, "--allow-chaos")
	b := w.start("b", "--rpc-auth", "secret", "--join", a.listen.Gossip)
	allSee(t, 15*time.Second, a, b)
	eventually(t, 10*time.Second, "the upstream answers over TLS", func() error {
		got, err := a.get("/")
		if err == nil && got.status != http.StatusOK {
			err = fmt.Errorf("status %d", got.status)
		}
		return err
	})
	b.finds(t, 10*time.Second, api.CheckCertificates, []string{"a"}, "the certificate of upstream orders for localhost expires in")

	if err := a.client().SetClock(t.Context(), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	b.finds(t, 10*time.Second, api.CheckMembers, []string{"a"}, "the clock of a is ", "ahead of that of b")
	if err := a.client().SetClock(t.Context(), 0); err != nil {
		t.Fatal(err)
	}

	keys, err := b.client().GossipKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := keys.Keys[0].Fingerprint
	b.terminate()
	b.end(20 * time.Second)
	counts := filepath.Join(w.dir, "b", "sealed.json")
	if err := os.WriteFile(counts, fmt.Appendf(nil, "{%q: %d}", key, uint64(3)<<30), 0o600); err != nil {
		t.Fatal(err)
	}
	b = w.start("b", "--rpc-auth", "secret", "--join", a.listen.Gossip)
	allSee(t, 15*time.Second, a, b)
	a.finds(t, 10*time.Second, api.CheckCertificates, []string{"a", "b"}, "the gossip key "+key+" has sealed 32", " 75 % of what is safe")
}
