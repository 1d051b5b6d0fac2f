package api_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/api"
)

func TestNewTakesAURLOrAnAddress(t *testing.T) {
	for base, want := range map[string]string{
		"http://127.0.0.1:9901":  "http://127.0.0.1:9901",
		"http://127.0.0.1:9901/": "http://127.0.0.1:9901",
		"10.0.0.1:9901":          "http://10.0.0.1:9901",
		":9901":                  "http://127.0.0.1:9901",
		"https://gw.example.com": "https://gw.example.com",
	} {
		c, err := api.New(base, "", nil)
		if err != nil || c.Base() != want {
			t.Errorf("New(%q) asks %v, %v; want %s", base, c, err, want)
		}
	}
	for _, base := range []string{"", "http://", "ftp://a", "http://a b", "http://user:secret@a", "http://a?b"} {
		if c, err := api.New(base, "", nil); err == nil {
			t.Errorf("New(%q) asks %s, want an error", base, c.Base())
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("New(%q) tells the secret: %v", base, err)
		}
	}
}

// client returns one of a server that answers every request by answer.
func client(t *testing.T, answer http.HandlerFunc) *api.Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	c, err := api.New(s.URL, "a token", nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAClientTellsNoFromNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	nobody, err := api.New(ln.Addr().String(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = nobody.Status(t.Context())
	if !errors.Is(err, api.ErrUnreachable) || !strings.HasPrefix(err.Error(), "could not reach http://"+ln.Addr().String()+": ") {
		t.Errorf("nobody: %v", err)
	}

	no := client(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", api.ProblemType)
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = w.Write([]byte(`{"detail":"not valid","errors":[{"field":"routes","line":3,"column":1,"detail":"want a list"}]}`))
	})
	_, err = no.Apply(t.Context(), nil, api.ApplyOptions{})
	p, ok := errors.AsType[*api.Problem](err)
	if !ok || p.Status != 422 || p.Title != "Unprocessable Entity" || p.Error() != "not valid\n3:1: routes: want a list" || errors.Is(err, api.ErrUnreachable) {
		t.Errorf("no: %#v", err)
	}

	other := client(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) })
	if _, err := other.Mesh(t.Context()); err == nil || !strings.Contains(err.Error(), "502") || strings.Contains(err.Error(), "<html>") {
		t.Errorf("somebody else: %v", err)
	}

	garbage := client(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })
	if _, err := garbage.History(t.Context()); err == nil || !strings.Contains(err.Error(), "decode answer") {
		t.Errorf("garbage: %v", err)
	}

	cut := client(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("{"))
	})
	if _, err := cut.Status(t.Context()); !errors.Is(err, api.ErrUnreachable) {
		t.Errorf("cut off: %v", err)
	}
}

func TestAClientSendsItsTokenAndAContentType(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer a token" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", r.Header)
		}
	})
	if err := c.Undrain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnETagHoldsVersionAndTheStartOfTheDigest(t *testing.T) {
	for want, of := range map[string]api.RoutesVersion{
		`"5-0123456789ab"`: {Version: 5, Digest: "0123456789abcdef"},
		`"0-"`:             {},
	} {
		if got := api.ETag(of.Version, of.Digest); got != want {
			t.Errorf("ETag = %s, want %s", got, want)
		}
	}
}

func TestHeldCountsLiveMembersOfTheKindAskedFor(t *testing.T) {
	s := api.Status{Node: api.Node{Region: "eu"}, Members: []api.Member{
		{Name: "a", Region: "eu", Status: api.MemberAlive, RoutesVersion: 5},
		{Name: "b", Region: "eu", Status: api.MemberAlive, RoutesVersion: 3},
		{Name: "c", Region: "us", Status: api.MemberAlive, RoutesVersion: 6},
		{Name: "d", Region: "eu", Status: api.MemberFailed},
	}}
	for what, want := range map[string][2]int{"all": {2, 3}, "region": {1, 2}, "2": {2, 2}, "4": {2, 4}} {
		w := s.Held(what, 5)
		if got := [2]int{w.Held, w.Wanted}; got != want || w.Done() != (want[0] >= want[1]) {
			t.Errorf("%s: %d of %d, want %d of %d", what, got[0], got[1], want[0], want[1])
		}
		if len(w.Late) != 1 || w.Late[0].Name != "b" || w.Late[0].VersionsBehind != 2 {
			t.Errorf("%s: late %+v", what, w.Late)
		}
	}
}

func TestWhatCanBeWaitedFor(t *testing.T) {
	for what, ok := range map[string]bool{"": true, "all": true, "region": true, "3": true, "0": false, "-1": false, "soon": false} {
		if err := api.CheckWait(what); (err == nil) != ok {
			t.Errorf("%q: %v", what, err)
		}
	}
}
