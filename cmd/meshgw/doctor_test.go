package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

func TestDoctorSaysByItsExitCodeWhatItFound(t *testing.T) {
	found := api.Check{Name: api.CheckErrors, Summary: "3 requests failed", Findings: []api.Finding{
		{What: "3 requests: upstream_timeout", Nodes: []string{"a", "b"}, Since: time.Unix(0, 0), RequestID: "id", Next: "meshgw trace id"},
	}}
	for name, test := range map[string]struct {
		answer any
		status int
		exit   int
		want   []string
	}{
		"nothing": {api.Diagnosis{OK: true, Checks: []api.Check{{Name: api.CheckRoutes, OK: true, Summary: "3 nodes"}}}, 200, exitDone, []string{"1  ok       routes        3 nodes\n"}},
		"a finding": {
			api.Diagnosis{Checks: []api.Check{found}, Unanswered: []api.Unanswered{{Node: "c", Reason: "no"}}},
			200, exitNo,
			[]string{"1  FINDING  errors        3 requests failed\n", "- 3 requests: upstream_timeout, since 1970-01-01", " [a b]\n", "run: meshgw trace id\n", "c did not answer: no\n"},
		},
		"no leave to look": {api.NewProblem(http.StatusUnauthorized, "asks for a token"), 401, exitUsage, []string{"meshgw: ", "asks for a token"}},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/doctor" {
				t.Errorf("asked for %s", r.URL)
			}
			if test.status != 200 {
				w.Header().Set("Content-Type", api.ProblemType)
			}
			w.WriteHeader(test.status)
			_ = json.NewEncoder(w).Encode(test.answer)
		}))
		var out strings.Builder
		if exit := run(t.Context(), []string{"doctor", "--admin", s.URL}, &out, &out); exit != test.exit {
			t.Errorf("%s: exit %d, want %d", name, exit, test.exit)
		}
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, out.String())
			}
		}
		s.Close()
	}
}
