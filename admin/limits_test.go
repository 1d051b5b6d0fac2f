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
	limits, err := c.Limits(t.Context(), "tenant=a b&c")
	if err != nil {
		t.Fatal(err)
	}
	if len(limits) != 1 || limits[0].Name != "l" || len(limits[0].Keys) != 1 || limits[0].Keys[0].Key != "tenant=a b&c" {
		t.Errorf("got %+v", limits)
	}
}
