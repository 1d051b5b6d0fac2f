package admin_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/admin"
	"github.com/meshgw/meshgw/api"
)

func TestLimitsAreAskedForByKey(t *testing.T) {
	n := &node{}
	server := httptest.NewServer(admin.New(n, n, nil, false, prometheus.NewRegistry(), zerolog.Nop()))
	t.Cleanup(server.Close)
	c, err := api.New(server.URL, "", http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	for _, mesh := range []bool{false, true} {
		limits, err := c.Limits(t.Context(), "tenant=a b&c", mesh)
		if err != nil {
			t.Fatal(err)
		}
		if len(limits) != 1 || limits[0].Name != "l" || len(limits[0].Keys) != 1 || limits[0].Keys[0].Key != "tenant=a b&c" || len(limits[0].Unanswered) > 0 != mesh {
			t.Errorf("mesh %v: %+v", mesh, limits)
		}
	}
}
