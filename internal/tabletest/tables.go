// Package tabletest has route files and tables to test with.
package tabletest

import (
	_ "embed" // for the full file
	"fmt"
	"slices"
	"testing"

	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

//go:embed full.yaml
var full []byte

// Env is the environment that Full asks.
func Env(name string) (string, bool) {
	value, ok := map[string]string{"ENV": "prod", "EMPTY": "", "WEIGHT": "7"}[name]
	return value, ok
}

// File is a route file of that text, f.yaml.
func File(text string) routefile.Source {
	return routefile.Source{Name: "f.yaml", Data: []byte(text)}
}

// FullText is a route file with every key.
func FullText() []byte { return slices.Clone(full) }

// Full is FullText as it is read.
func Full(t *testing.T) *routefile.File {
	t.Helper()
	f, err := routefile.Decode(Env, routefile.Source{Name: "full.yaml", Data: full})
	if err != nil {
		t.Fatal(err)
	}
	if ps := f.Validate().Errors(); len(ps) > 0 {
		t.Fatal(ps)
	}
	return f
}

// Respond is a route that answers by itself.
func Respond(name string, hosts []string, match ...routetable.Match) routetable.Route {
	return routetable.Route{Name: name, Hosts: hosts, Match: match, Respond: &routetable.Respond{Status: 200}}
}

// Big has n routes, 10 per host.
func Big(n int) *routetable.Spec {
	spec := &routetable.Spec{}
	for i := range max(1, n/10) {
		spec.Upstreams = append(spec.Upstreams, routetable.Upstream{
			Name: fmt.Sprintf("up-%d", i), Endpoints: []routetable.Endpoint{{URL: fmt.Sprintf("http://10.0.%d.%d:8080", i/250, i%250)}},
		})
	}
	for i := range n {
		spec.Routes = append(spec.Routes, routetable.Route{
			Name: fmt.Sprintf("route-%05d", i), Hosts: []string{fmt.Sprintf("h%d.example.com", i/10)},
			Match:    []routetable.Match{{PathPrefix: fmt.Sprintf("/v1/service-%d", i%10), Methods: []string{"POST", "GET"}}},
			Upstream: fmt.Sprintf("up-%d", i/10),
		})
	}
	return spec
}
