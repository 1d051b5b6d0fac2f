package admin_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/admin"
	"github.com/meshgw/meshgw/api"
)

func (n *node) Bans() []api.Ban { return []api.Ban{{CIDR: "192.0.2.7/32"}} }

func (n *node) Ban(r api.BanRequest, by string) (api.Ban, error) {
	if r.CIDR == "" {
		return api.Ban{}, api.NewProblem(http.StatusUnprocessableEntity, "no cidr")
	}
	return api.Ban{CIDR: r.CIDR, Reason: r.Reason, By: by}, nil
}

func (n *node) Unban(cidr, by string) (api.Ban, error) { return api.Ban{CIDR: cidr, By: by}, nil }

func TestBansAreReadPutAndLifted(t *testing.T) {
	client := clientOf(t, start(t, &node{}, nil, false))
	if all, err := client.Bans(t.Context()); err != nil || len(all) != 1 || all[0].CIDR != "192.0.2.7/32" {
		t.Errorf("bans: %v, %v", all, err)
	}
	b, err := client.Ban(t.Context(), api.BanRequest{CIDR: "10.0.0.0/8", For: "1m", Reason: "why"})
	if want := (api.Ban{CIDR: "10.0.0.0/8", Reason: "why", By: "local@127.0.0.1"}); err != nil || b != want {
		t.Errorf("ban: %+v, %v, want %+v", b, err, want)
	}
	if b, err := client.Unban(t.Context(), "10.0.0.0/8"); err != nil || b.By != "local@127.0.0.1" {
		t.Errorf("unban: %+v, %v", b, err)
	}
	if _, err := client.Ban(t.Context(), api.BanRequest{}); err == nil || err.Error() != "no cidr" {
		t.Errorf("got %v, want the node's refusal", err)
	}
}

func TestEveryChangeHasALineThatSaysWhoAndFromWhere(t *testing.T) {
	var log strings.Builder
	tokens, err := admin.ParseTokens("tokens", []byte("ann write "+writeToken+"\nbob read "+readToken+"\n"), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{}
	s := admin.New(n, n, tokens, false, prometheus.NewRegistry(), zerolog.New(&log))
	lines := func(token, method, path string) string {
		log.Reset()
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		s.ServeHTTP(httptest.NewRecorder(), r)
		return log.String()
	}
	if got := lines(writeToken, "POST", "/v1/drain"); !strings.Contains(got, `"by":"ann@192.0.2.1","method":"POST","path":"/v1/drain","status":200,"message":"audit"`) {
		t.Errorf("a change: %s", got)
	}
	if got := lines(readToken, "POST", "/v1/drain"); !strings.Contains(got, `"by":"bob@192.0.2.1"`) || !strings.Contains(got, "refused") {
		t.Errorf("a change by who may not: %s", got)
	}
	if got := lines("a-token-of-nobody", "GET", "/v1/status"); !strings.Contains(got, `"by":"unknown@192.0.2.1"`) || strings.Contains(got, "a-token-of-nobody") {
		t.Errorf("a stranger: %s", got)
	}
	if got := lines(readToken, "GET", "/v1/status"); got != "" {
		t.Errorf("a look: %s", got)
	}
}
