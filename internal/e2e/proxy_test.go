package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestEveryNodeProxiesWhatOneFileSays(t *testing.T) {
	w := newWorld(t)
	one, two := upstream(t, "one"), upstream(t, "two")
	file := w.routeFile("routes.yaml", "/orders", one.URL, two.URL)
	a := w.start("a", "--routes", file)
	b := w.start("b", "--join", a.listen.Gossip)
	c := w.start("c", "--join", a.listen.Gossip)
	for _, p := range []*process{a, b, c} {
		eventually(t, 10*time.Second, p.name+" serves the route", func() error {
			got, err := p.get("/orders/7")
			if err == nil && got.status != 200 {
				err = fmt.Errorf("status %d: %s", got.status, got.body)
			}
			return err
		})
		answered := map[string]int{}
		for range 20 {
			got, err := p.get("/orders/7")
			if err != nil || got.status != 200 || !strings.HasSuffix(got.body, "GET /orders/7 ") {
				t.Fatalf("%s: %v %+v", p.name, err, got)
			}
			answered[got.header.Get("x-upstream")]++
			if node := got.header.Get("x-meshgw-node"); node != p.name {
				t.Errorf("x-meshgw-node %q, want %q", node, p.name)
			}
			if got.header.Get("x-request-id") == "" {
				t.Error("no x-request-id")
			}
		}
		if answered["one"] == 0 || answered["two"] == 0 {
			t.Errorf("%s: not balanced: %v", p.name, answered)
		}
	}
	got, err := b.get("/nothing")
	if err != nil {
		t.Fatal(err)
	}
	if got.status != 404 || got.header.Get("x-meshgw-error") != "no_route" || got.header.Get("content-type") != "application/problem+json" {
		t.Errorf("no route: %+v", got)
	}
	var problem struct {
		Status int    `json:"status"`
		Title  string `json:"title"`
	}
	if err := json.Unmarshal([]byte(got.body), &problem); err != nil || problem.Status != 404 || problem.Title == "" {
		t.Errorf("%v: %s", err, got.body)
	}
}

func TestAChangedFileIsServedAndABrokenOneChangesNothing(t *testing.T) {
	w := newWorld(t)
	one, two := upstream(t, "one"), upstream(t, "two")
	file := w.routeFile("routes.yaml", "/", one.URL)
	a := w.start("a", "--routes", file)
	b := w.start("b", "--join", a.listen.Gossip)
	answeredBy := func(p *process, name string) func() error {
		return func() error {
			got, err := p.get("/x")
			if err == nil && got.header.Get("x-upstream") != name {
				err = fmt.Errorf("%s: %d by %q", p.name, got.status, got.header.Get("x-upstream"))
			}
			return err
		}
	}
	eventually(t, 10*time.Second, "b serves one", answeredBy(b, "one"))

	w.routeFile("routes.yaml", "/", two.URL)
	eventually(t, 10*time.Second, "a serves two", answeredBy(a, "two"))
	eventually(t, 5*time.Second, "b serves two", answeredBy(b, "two"))

	w.save("routes.yaml", []byte("routes:\n  - nam: x\n"))
	eventually(t, 10*time.Second, "a says what is wrong", func() error { return logged(a, "routes.yaml:2:5") })
	if err := answeredBy(a, "two")(); err != nil {
		t.Error(err)
	}
	s, err := a.status()
	if err != nil || len(s.Routes.Pending) == 0 || s.Routes.Pending[0].Kind != "file" {
		t.Errorf("status does not tell: %v %+v", err, s.Routes)
	}
}

func TestTheTableSurvivesKillAndServesWithNoPeerInSight(t *testing.T) {
	w := newWorld(t)
	one := upstream(t, "one")
	file := w.routeFile("routes.yaml", "/", one.URL)
	a := w.start("a", "--routes", file)
	b := w.start("b", "--join", a.listen.Gossip)
	holds := func() error {
		s, err := b.status()
		if err == nil && s.Routes.Version != 1 {
			err = fmt.Errorf("version %d", s.Routes.Version)
		}
		return err
	}
	eventually(t, 10*time.Second, "b holds version 1", holds)
	eventually(t, 5*time.Second, "b has it on disk", func() error {
		_, err := os.Stat(w.dir + "/b/routes.snapshot")
		return err
	})
	a.kill()
	b.kill()
	b = w.start("b", "--join", a.listen.Gossip)
	if err := holds(); err != nil {
		t.Error(err)
	}
	if got, err := b.get("/x"); err != nil || got.header.Get("x-upstream") != "one" {
		t.Errorf("%v %+v", err, got)
	}
}

func TestADeadUpstreamIsTheGatewaysErrorAndAnotherEndpointTakesOver(t *testing.T) {
	w := newWorld(t)
	one, two := upstream(t, "one"), upstream(t, "two")
	file := w.routeFile("routes.yaml", "/", one.URL, two.URL)
	a := w.start("a", "--routes", file)
	one.Close()
	for range 50 {
		got, err := a.get("/x")
		if err != nil || got.status != 200 || got.header.Get("x-upstream") != "two" {
			t.Fatalf("with one of two: %v %+v", err, got)
		}
	}
	two.Close()
	got, err := a.get("/x")
	if err != nil {
		t.Fatal(err)
	}
	if got.status != 502 && got.status != 503 || got.header.Get("x-meshgw-error") == "" {
		t.Errorf("with none: %+v", got)
	}
}

func TestSIGTERMDrainsAndEndsWithZero(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	b := w.start("b", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b)
	b.terminate()
	if code := b.end(15 * time.Second); code != 0 {
		t.Errorf("exit code %d, want 0\n%s", code, b.log.String())
	}
	eventually(t, 5*time.Second, "a saw it leave", func() error {
		s, err := a.status()
		if err != nil {
			return err
		}
		for _, m := range s.Members {
			if m.Name == "b" && m.Status == "left" {
				return nil
			}
		}
		return fmt.Errorf("%+v", s.Members)
	})
}
