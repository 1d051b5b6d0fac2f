package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

func (p *process) client() *api.Client {
	p.w.t.Helper()
	c, err := api.New(p.listen.Admin, "", nil)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return c
}

// routeTo is a route file whose one route answers with a text.
func routeTo(name, text string) []byte {
	return fmt.Appendf(nil, "routes:\n  - name: %s\n    match: [{path_prefix: /%s}]\n    respond: {status: 200, body: %q}\n", name, name, text)
}

func (p *process) answers(path, body string) error {
	got, err := p.get(path)
	if err == nil && (got.status != 200 || got.body != body) {
		err = fmt.Errorf("%s answers %s with %d %q", p.name, path, got.status, got.body)
	}
	return err
}

func TestAnEditGoesInAtAnyNodeAndIsServedByAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start("a")
	b := w.start("b", "--join", a.listen.Gossip)
	c := w.start("c", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b, c)
	file := w.dir + "/one.yaml"
	if err := os.WriteFile(file, routeTo("one", "first"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := w.run("meshgw", "routes", "apply", file, "--admin", b.listen.Admin, "--wait", "all", "-m", "a first route")
	t.Log(out)
	for _, p := range []*process{a, b, c} {
		if err := p.answers("/one", "first"); err != nil {
			t.Error(err)
		}
	}
	// A stale edit is refused and changes nothing.
	if err := os.WriteFile(file, routeTo("one", "second"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("meshgw", "routes", "apply", file, "--admin", c.listen.Admin, "--wait", "all", "--if-version", "1@b")
	out, err := w.try("meshgw", "routes", "apply", file, "--admin", a.listen.Admin, "--if-version", "1@b")
	if exitCode(err) != 1 {
		t.Errorf("stale: exit %d: %s", exitCode(err), out)
	}
	// An invalid one too, with its place.
	if err := os.WriteFile(file, []byte("routes:\n  - name: x\n    upstream: nowhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = w.try("meshgw", "routes", "apply", file, "--admin", a.listen.Admin)
	if exitCode(err) != 1 || !strings.Contains(out, "3:") || !strings.Contains(out, "nowhere") {
		t.Errorf("invalid: exit %d: %s", exitCode(err), out)
	}
	// The history is the same everywhere, and a version is gone back to at
	// another node when the one that wrote it is dead.
	wantIn(t, "history", w.run("meshgw", "routes", "history", "--admin", a.listen.Admin), "1@b", "2@c", "a first route")
	b.kill()
	w.run("meshgw", "routes", "rollback", "1@b", "--admin", c.listen.Admin)
	for _, p := range []*process{a, c} {
		eventually(t, 5*time.Second, p.name+" is back at the first", func() error { return p.answers("/one", "first") })
	}
	// What was written while a node was away is there when it returns.
	b = w.start("b")
	eventually(t, 10*time.Second, "b caught up", func() error {
		s, err := b.status()
		if err == nil && s.Routes.Version != 3 {
			err = fmt.Errorf("version %d", s.Routes.Version)
		}
		return err
	})
	wantIn(t, "get", w.run("meshgw", "routes", "get", "--admin", b.listen.Admin), "name: one", "body: first")
}

// Who is ready is sent requests: a newcomer with a route file must not answer the
// first of them with 404.
func TestANewcomerWithARouteFileIsReadyOnceItServesATable(t *testing.T) {
	w := newWorld(t)
	file := w.dir + "/one.yaml"
	if err := os.WriteFile(file, routeTo("one", "first"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := w.start("a", "--routes", file)
	b := w.start("b", "--routes", file, "--join", a.listen.Gossip)
	for _, p := range []*process{a, b} {
		if err := p.answers("/one", "first"); err != nil {
			t.Error(err)
		}
	}
}

func TestTwoEditsOfOneVersionBothSurviveOrAreShown(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	b := w.start("b", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b)
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range 20 {
		for _, p := range []*process{a, b} {
			wg.Go(func() {
				if _, err := p.client().Apply(ctx, routeTo(fmt.Sprintf("%s%d", p.name, i), p.name), api.ApplyOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	eventually(t, 10*time.Second, "both hold the same", func() error {
		sa, err1 := a.status()
		sb, err2 := b.status()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if sa.Routes.Digest != sb.Routes.Digest {
			return fmt.Errorf("%+v and %+v", sa.Routes, sb.Routes)
		}
		return nil
	})
	for i := range 20 {
		for _, p := range []*process{a, b} {
			if err := p.answers(fmt.Sprintf("/a%d", i), "a"); err != nil {
				t.Error(err)
			}
			if err := p.answers(fmt.Sprintf("/b%d", i), "b"); err != nil {
				t.Error(err)
			}
		}
	}
}

// MESHGW_KILLS sets how often; 200 for the figure in docs.
func TestKillDuringAppliesLosesNothingAcknowledged(t *testing.T) {
	kills := 25
	if testing.Short() {
		kills = 5
	}
	if n, err := strconv.Atoi(os.Getenv("MESHGW_KILLS")); err == nil {
		kills = n
	}
	w := newWorld(t)
	a := w.start("a")
	var acknowledged atomic.Uint64
	for range kills {
		c := a.client()
		applying := make(chan struct{})
		go func() {
			defer close(applying)
			for {
				got, err := c.Apply(context.Background(), routeTo("r", strconv.FormatUint(acknowledged.Load()+1, 10)), api.ApplyOptions{})
				if err != nil {
					return
				}
				acknowledged.Store(got.Version)
			}
		}()
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		for began := time.Now(); acknowledged.Load() == 0 && time.Since(began) < patience; {
			time.Sleep(time.Millisecond) // the first is given its time
		}
		a.kill()
		<-applying
		a = w.start("a")
		s, err := a.status()
		if err != nil {
			t.Fatal(err)
		}
		// One more than was acknowledged may have reached the disk.
		if v := s.Routes.Version; v < acknowledged.Load() || v > acknowledged.Load()+1 {
			t.Fatalf("version %d after a kill, acknowledged was %d", v, acknowledged.Load())
		}
		if v := s.Routes.Version; v > 0 {
			if err := a.answers("/r", strconv.FormatUint(v, 10)); err != nil {
				t.Fatal(err)
			}
		}
		acknowledged.Store(s.Routes.Version)
	}
	t.Logf("%d kills, %d versions", kills, acknowledged.Load())
	if acknowledged.Load() == 0 {
		t.Error("nothing was ever applied")
	}
}

func TestAppliesUnderLoadFailNoRequestAndCloseNoConnection(t *testing.T) {
	w := newWorld(t)
	one := upstream(t, "one")
	a := w.start("a", "--routes", w.routeFile("routes.yaml", "/orders", one.URL), "--access-log", "errors")
	var asked, failed atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	began := time.Now()
	for range 8 {
		wg.Go(func() {
			n, err := askOn(ctx, a.listen.HTTP, "/orders/1")
			asked.Add(n)
			if err != nil {
				failed.Add(1)
				t.Logf("after %d requests: %v", n, err)
			}
		})
	}
	for i := range 100 {
		if _, err := a.client().Apply(t.Context(), routeTo(fmt.Sprintf("r%d", i%10), strconv.Itoa(i)), api.ApplyOptions{}); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	wg.Wait()
	t.Logf("100 applies during %d requests, %.0f a second: %d of 8 connections failed",
		asked.Load(), float64(asked.Load())/time.Since(began).Seconds(), failed.Load())
	if failed.Load() > 0 || asked.Load() < 100 {
		t.Errorf("%d connections failed, %d requests were answered", failed.Load(), asked.Load())
	}
}

// askOn asks on one connection for as long as ctx lasts. A connection that is
// closed, or is to be, is an error: net/http would hide it by opening another.
func askOn(ctx context.Context, addr, path string) (answered int64, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for ; ctx.Err() == nil; answered++ {
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
			return answered, err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return answered, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || resp.Close {
			return answered, fmt.Errorf("status %d, close %t, %w: %s", resp.StatusCode, resp.Close, err, body)
		}
	}
	return answered, nil
}
