package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// endpointAt makes this binary an endpoint instead of a test, so that it can be
// killed and frozen as a process of its own.
const endpointAt = "MESHGW_E2E_ENDPOINT"

func beEndpoint(addr string) int {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(ln.Addr())
	hold, _ := time.ParseDuration(os.Getenv(endpointAt + "_HOLD"))
	var seen *os.File
	if name := os.Getenv(endpointAt + "_SEEN"); name != "" {
		if seen, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	_ = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen != nil {
			fmt.Fprintln(seen, r.Method, r.RequestURI)
		}
		if r.URL.Path != "/healthz" {
			time.Sleep(hold)
		}
		fmt.Fprintf(w, "%s %s\n", r.Method, r.URL.Path)
	}))
	return 0
}

// An endpoint is an HTTP server in a process of its own.
type endpoint struct {
	t    *testing.T
	addr string
	hold time.Duration // for each request but checks
	seen string        // file for a line of each request; empty = none
	ns   string        // network namespace; empty = the test's own
	cmd  *exec.Cmd
}

func startEndpoint(t *testing.T, hold time.Duration) *endpoint {
	t.Helper()
	e := &endpoint{t: t, addr: ownAddress(), hold: hold}
	e.start()
	t.Cleanup(e.kill)
	return e
}

// ownAddress is one of loopback that nothing else uses, with any port. At
// 127.0.0.1 a connection from there might have the port of an endpoint that is
// down, which then could not come back.
func ownAddress() string {
	n := endpoints.Add(1)
	return fmt.Sprintf("127.%d.%d.%d:0", 1+os.Getpid()%200, n/250%256, 1+n%250)
}

var endpoints atomic.Uint32 // so far

// start starts the endpoint, again where it was.
func (e *endpoint) start() {
	e.t.Helper()
	e.cmd = exec.Command(os.Args[0])
	if e.ns != "" {
		e.cmd = exec.Command("ip", "netns", "exec", e.ns, os.Args[0])
	}
	e.cmd.Env = append(os.Environ(), endpointAt+"="+e.addr, endpointAt+"_HOLD="+e.hold.String(), endpointAt+"_SEEN="+e.seen)
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	e.cmd.Stderr = os.Stderr
	out, err := e.cmd.StdoutPipe()
	if err == nil {
		err = e.cmd.Start()
	}
	if err != nil {
		e.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		e.t.Fatalf("endpoint did not start: %v", err)
	}
	e.addr = strings.TrimSpace(line)
}

// kill ends the process as kill -9 does.
func (e *endpoint) kill() {
	_ = e.cmd.Process.Kill()
	_ = e.cmd.Wait()
}

func (e *endpoint) signal(s syscall.Signal) { _ = e.cmd.Process.Signal(s) }

// A result is what became of one request.
type result struct {
	at     time.Time // when it was answered
	took   time.Duration
	node   string // that was asked
	status int    // 0 = no answer
	region string // that answered
	header http.Header
}

// sent is when it was asked for.
func (r result) sent() time.Time { return r.at.Add(-r.took) }

// traffic is requests to nodes at a steady pace, and what became of each.
type traffic struct {
	stop func() []result

	mu      sync.Mutex // guards results
	results []result
}

// startLoad sends rate requests/s of a method, spread over the nodes, each with a
// number of its own in the query.
func startLoad(t *testing.T, method, path string, rate int, nodes ...*process) *traffic {
	t.Helper()
	l := &traffic{}
	client := &http.Client{Timeout: 20 * time.Second, Transport: clientTransport(256)}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			wg.Go(func() { l.ask(client, method, fmt.Sprintf("%s?n=%d", path, i), nodes[i%len(nodes)]) })
		}
	})
	l.stop = sync.OnceValue(func() []result {
		close(ended)
		wg.Wait()
		client.CloseIdleConnections()
		return l.results
	})
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *traffic) ask(client *http.Client, method, path string, node *process) {
	began := time.Now()
	r := result{node: node.name}
	req, err := http.NewRequest(method, "http://"+node.listen.HTTP+path, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = client.Do(req); err == nil {
			r.status, r.region, r.header = resp.StatusCode, resp.Header.Get("x-meshgw-region"), resp.Header
			resp.Body.Close()
		}
	}
	r.at, r.took = time.Now(), time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results = append(l.results, r)
}

// soFar returns the results until now.
func (l *traffic) soFar() []result {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]result(nil), l.results...)
}

// count counts the results that fit.
func count(results []result, fits func(result) bool) (n int) {
	for _, r := range results {
		if fits(r) {
			n++
		}
	}
	return n
}

func failed(r result) bool { return r.status != 200 }
