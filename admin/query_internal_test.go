package admin

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/meshgw/meshgw/api"
)

// Whatever is asked for in the query of a change is understood, within bounds, or
// refused as the client's mistake.
func FuzzQueries(f *testing.F) {
	for _, s := range []string{"dry_run=1&prune=true", "wait=all&timeout=5s", "wait=3&timeout=-1h", "mesh=yes", "version=1@a", "message=%zz", "dry-run", "wait=0;a"} {
		f.Add(s, []byte(`{"version": "1@a"}`))
	}
	f.Fuzz(func(t *testing.T, query string, doc []byte) {
		u := url.URL{Path: "/v1/routes", RawQuery: query}
		o, err := applyOptions(&http.Request{Method: http.MethodPost, URL: &u, Header: http.Header{}})
		if err == nil && (o.Timeout < 0 || o.Timeout > maxWait || api.CheckWait(o.Wait) != nil) {
			t.Errorf("%q: %+v", query, o)
		}
		_, noMesh := wholeMesh(u.Query())
		_, noVersion := goBackTo(u.Query(), doc)
		for _, err := range []error{err, noMesh, noVersion} {
			if problem, ok := errors.AsType[*api.Problem](err); err != nil && (!ok || problem.Status < 400 || problem.Status > 499) {
				t.Errorf("%q, %q: %v", query, doc, err)
			}
		}
	})
}
