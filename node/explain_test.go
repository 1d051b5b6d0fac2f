package node

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
)

// routesOf is a node's table of one route, which is named and takes every request.
func routesOf(t *testing.T, node, route string) *routes {
	t.Helper()
	r := &routes{store: heedfulStore{Store: replica.NewStore(node)}, node: node, log: zerolog.Nop()}
	p, err := r.store.Prepare(replica.Edit{Spec: &routetable.Spec{Routes: []routetable.Route{{Name: route, Respond: &routetable.Respond{Status: 200}}}}})
	if err == nil {
		err = r.store.Commit(p)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.serve()
	return r
}

func TestTheMeshExplainsWhereNodesDifferAndWhoIsSilent(t *testing.T) {
	ask := func(b *routes) func(context.Context, string, []byte) []answered {
		return func(_ context.Context, service string, request []byte) []answered {
			if service != explainService {
				t.Errorf("asked for %s", service)
			}
			data, err := b.serveExplain(request)
			mine, mineErr := routesOf(t, "a", "r").serveExplain(request)
			return []answered{{node: "a", data: mine, err: mineErr}, {node: "b", data: data, err: err}, {node: "c", err: errors.New("no answer")}, {node: "d", data: []byte("{")}}
		}
	}
	a := routesOf(t, "a", "r")
	same, err := meshRoutes{a, ask(routesOf(t, "b", "r"))}.ExplainMesh(t.Context(), api.ExplainRequest{URL: "/x"})
	if err != nil || len(same.Answers) != 2 || !same.Agree {
		t.Errorf("%+v, %v", same, err)
	}
	if len(same.Unanswered) != 2 || same.Unanswered[0] != (api.Unanswered{Node: "c", Reason: "no answer"}) || same.Unanswered[1].Node != "d" {
		t.Errorf("%+v", same.Unanswered)
	}
	other, err := meshRoutes{a, ask(routesOf(t, "b", "another"))}.ExplainMesh(t.Context(), api.ExplainRequest{URL: "/x"})
	if err != nil || other.Agree || other.Answers[1].Route != "another" {
		t.Errorf("%+v, %v", other, err)
	}
	for _, q := range []api.ExplainRequest{{URL: "/%zz"}, {URL: "ftp://x/"}, {URL: "/x", Method: "G T"}} {
		if _, err := (meshRoutes{a, nil}).ExplainMesh(t.Context(), q); err == nil {
			t.Errorf("%+v, which no client can ask, was asked about", q)
		}
	}
}

func TestExplainSaysWhatBecomesOfAnEscapedSlash(t *testing.T) {
	spec := &routetable.Spec{Routes: []routetable.Route{
		{Name: "kept", Match: []routetable.Match{{PathPrefix: "/kept"}}, EncodedSlashes: "keep", Respond: &routetable.Respond{Status: 200}},
		{Name: "all", Respond: &routetable.Respond{Status: 200}},
	}}
	table, _ := routetable.Compile(spec)
	var r routes
	r.serves.Store(&served{table: table})
	for url, refused := range map[string]bool{"/kept/a%2fb": false, "/a%2fb": true, "/a": false} {
		e, err := r.Explain(api.ExplainRequest{URL: url})
		if err != nil || strings.Contains(e.Why, "answers 400") != refused {
			t.Errorf("%s: %q, %v", url, e.Why, err)
		}
	}
}
