package admin_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/admin"
	"github.com/meshgw/meshgw/api"
)

func TestTrafficIsOfTheNodeOrOfAll(t *testing.T) {
	n := &node{}
	server := httptest.NewServer(admin.New(n, n, nil, false, prometheus.NewRegistry(), zerolog.Nop()))
	t.Cleanup(server.Close)
	c, err := api.New(server.URL, "", http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	for mesh, want := range map[bool]int{false: 1, true: 2} {
		traffic, err := c.Traffic(t.Context(), mesh)
		if err != nil || len(traffic.Nodes) != want || traffic.Routes[0].RPS != 10 {
			t.Errorf("mesh %v: got %+v, %v", mesh, traffic, err)
		}
	}
}

func TestARequestIsLookedUpHereAndEverywhere(t *testing.T) {
	n := &node{}
	server := httptest.NewServer(admin.New(n, n, nil, false, prometheus.NewRegistry(), zerolog.Nop()))
	t.Cleanup(server.Close)
	c, err := api.New(server.URL, "", http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	for _, mesh := range []bool{false, true} {
		trace, err := c.Request(t.Context(), "known", mesh)
		if err != nil || len(trace.Seen) != 1 || (len(trace.Unanswered) == 1) != mesh {
			t.Errorf("mesh %v: got %+v, %v", mesh, trace, err)
		}
	}
	_, err = c.Request(t.Context(), "../status?x=", true)
	if p, ok := errors.AsType[*api.Problem](err); !ok || p.Status != http.StatusNotFound {
		t.Errorf("got %v, want a 404 of the request", err)
	}
}
