package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/canonical"
)

// Explain says which route would answer a request, read and matched as the data
// plane does it.
func (r *routes) Explain(q api.ExplainRequest) (api.Explanation, error) {
	request, err := requestOf(q)
	if err != nil {
		return api.Explanation{}, err
	}
	table := r.table()
	found := routetable.Explain(table, request)
	e := api.Explanation{
		Node: r.node, Version: table.Version(), Digest: table.Digest(), Route: found.Route,
		Why: strings.Join(found.Why, ", "), Near: []api.NearbyRoute{},
	}
	if found.Route == "" {
		e.Why = "no match of any route holds"
	}
	if found.Broken != "" {
		e.Why += "; it answers 503, for " + found.Broken
	}
	if hit, ok := table.Match(request); ok {
		if !hit.Rule.Takes(request.Path) {
			e.Why += "; it answers 400, for the escaped slash"
		}
		var upstreams []string
		for _, target := range hit.Rule.Targets {
			upstreams = append(upstreams, target.Upstream.Name)
		}
		e.Upstream = strings.Join(upstreams, ", ")
	}
	for _, n := range found.Near {
		why := strings.Join(n.Failed, ", ")
		if n.Lost != "" {
			why = n.Lost
		}
		e.Near = append(e.Near, api.NearbyRoute{Route: n.Route, Why: why})
	}
	return e, nil
}

// explainService answers other nodes which route answers a request here, both as
// JSON.
const explainService = "explain"

func (r *routes) serveExplain(request []byte) ([]byte, error) {
	var q api.ExplainRequest
	if err := json.Unmarshal(request, &q); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	e, err := r.Explain(q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

// meshRoutes is the table with what all nodes say of it.
type meshRoutes struct {
	*routes
	askAll func(ctx context.Context, service string, request []byte) []answered
}

// ExplainMesh asks every node which route answers a request.
func (m meshRoutes) ExplainMesh(ctx context.Context, q api.ExplainRequest) (api.MeshExplanation, error) {
	if _, err := m.Explain(q); err != nil {
		return api.MeshExplanation{}, err // nobody can answer that
	}
	request, err := json.Marshal(q)
	if err != nil {
		return api.MeshExplanation{}, err
	}
	all := api.MeshExplanation{Agree: true, Answers: []api.Explanation{}, Unanswered: []api.Unanswered{}}
	for _, a := range m.askAll(ctx, explainService, request) {
		var e api.Explanation
		if a.err == nil {
			a.err = json.Unmarshal(a.data, &e)
		}
		if a.err != nil {
			all.Unanswered = append(all.Unanswered, api.Unanswered{Node: a.node, Reason: a.err.Error()})
			continue
		}
		all.Answers = append(all.Answers, e)
		all.Agree = all.Agree && e.SameAs(all.Answers[0])
	}
	return all, nil
}

// requestOf reads METHOD, URL and "name: value" headers. A URL of a path alone
// is for any host; http and https name the listener.
func requestOf(q api.ExplainRequest) (*routetable.Request, error) {
	bad := func(err error) error { return api.NewProblem(http.StatusBadRequest, "%v", err) }
	if q.URL == "" {
		return nil, bad(errors.New("want ?url=URL, or a path"))
	}
	u, err := url.Parse(q.URL)
	if err != nil {
		return nil, bad(err)
	}
	if u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
		return nil, bad(fmt.Errorf("%s: want a path, or a URL of http or https", q.URL))
	}
	fields := explained{header: map[string]string{}, query: u.Query()}
	for _, line := range q.Headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, api.NewProblem(http.StatusBadRequest, "header %q: want NAME: VALUE", line)
		}
		fields.header[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	request := &routetable.Request{Listener: "http", Method: []byte(strings.ToUpper(q.Method)), Fields: fields}
	if q.Method == "" {
		request.Method = []byte(http.MethodGet)
	}
	if u.Scheme == "https" {
		request.Listener = "https"
	}
	if !message.IsToken(request.Method) {
		return nil, bad(fmt.Errorf("method %q is malformed", q.Method))
	}
	host := u.Host
	if named := fields.header["Host"]; named != "" {
		host = named
	}
	if host != "" {
		if request.Host, _, err = canonical.ParseHost(nil, []byte(host)); err != nil {
			return nil, bad(err)
		}
	}
	target, err := canonical.ParseTarget(nil, []byte(u.RequestURI()))
	if err != nil {
		return nil, bad(err)
	}
	request.Path = target.Path
	return request, nil
}

// explained is the header and query of a request that is only asked about.
type explained struct {
	header map[string]string
	query  url.Values
}

// Header implements routetable.Fields.
func (e explained) Header(name string) ([]byte, bool) {
	value, ok := e.header[textproto.CanonicalMIMEHeaderKey(name)]
	return []byte(value), ok
}

// Query implements routetable.Fields.
func (e explained) Query(name string) ([]byte, bool) {
	values, ok := e.query[name]
	if !ok {
		return nil, false
	}
	return []byte(values[0]), true
}
