package routetable_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

func TestValidateFindsEachMistake(t *testing.T) {
	t.Parallel()
	const up = "upstreams: [{name: u, endpoints: [{url: 'http://a'}]}]\n"
	upstream := func(s string) string { return "upstreams: [{name: u, endpoints: [{url: 'http://a'}], " + s + "}]" }
	route := func(s string) string { return up + "routes: [{name: r, upstream: u, " + s + "}]" }
	answer := func(s string) string { return "routes: [{name: r, respond: {status: 200}, " + s + "}]" }
	limit := func(s string) string { return "limits: [{name: l, " + s + "}]" }
	tenant := func(s string) string { return "tenants: [{name: t, " + s + "}]" }
	for _, c := range []struct{ file, want string }{
		{"upstreams: [{name: 'a b', endpoints: [{url: 'http://a'}]}]", "upstreams[0].name (upstream/a b): expected a name"},
		{"upstreams: [{name: u}]", "warning: upstreams[0].endpoints (upstream/u): none given"},
		{"upstreams: [{name: u, endpoints: [{url: 'http://a', weight: 0}]}]", "all have weight 0"},
		{"upstreams: [{name: u, endpoints: [{url: 'http://a'}, {url: 'http://a/'}]}]", "endpoints[1].url (upstream/u): http://a/ is there already"},
		{"upstreams: [{name: u, endpoints: [{url: 'ftp://a'}]}]", "expected http:// or https://"},
		{"upstreams: [{name: u, endpoints: [{url: 'http://a:0'}]}]", "expected http:// or https://"},
		{"upstreams: [{name: u, endpoints: [{url: 'http://u:p@a'}]}]", "expected http:// or https://"},
		{"upstreams: [{name: u, endpoints: [{url: 'dnssrv+http://_a._tcp.b:80'}]}]", "or dnssrv+http:// and a name of SRV records"},
		{"upstreams: [{name: u, protocol: h2, endpoints: [{url: 'dnssrv+http://_a._tcp.b'}]}]", "h2 is HTTP/2 over TLS, for https:// only"},
		{"upstreams: [{name: u, endpoints: [{url: 'http://a?q'}]}]", "expected http:// or https://"},
		{"upstreams: [{name: u, endpoints: [{url: 'http://a', weight: -1}]}]", "weight (upstream/u): expected 0 to 1000000, got -1"},
		{"upstreams: [{name: u, endpoints: [{url: 'http://a', region: 'a b'}]}]", "expected the name of a region"},
		{upstream("protocol: h3"), "expected http1, h2c or h2"},
		{upstream("protocol: h2"), "h2 is HTTP/2 over TLS, for https:// only"},
		{upstream("balance: {policy: lucky}"), "expected least_request, round_robin"},
		{upstream("balance: {policy: consistent_hash, hash: {path: true, header: x}}"), "got header and path"},
		{upstream("balance: {policy: random, hash: {path: true}}"), "is for the policy consistent_hash only"},
		{upstream("balance: {sticky: {cookie: 'a b'}}"), "balance.sticky.cookie (upstream/u): expected the name of a cookie"},
		{upstream("balance: {sticky: {max_age: 10ms}}"), "expected at least 1s, got 10ms"},
		{upstream("balance: {sticky: {same_site: no}}"), "expected lax, strict or none"},
		{upstream("failover: {via: tunnel}"), "expected mesh or direct"},
		{upstream("failover: {regions: [a, a]}"), "failover.regions[1] (upstream/u): a is there already"},
		{upstream("health_check: {path: healthz}"), "expected a path from /"},
		{upstream("health_check: {path: /h, timeout: 3s}"), "3s is longer than the interval, 2s"},
		{upstream("health_check: {interval: 2s}"), "expected a path from /"},
		{upstream("protocol: h2c, health_check: {path: /h, grpc: {}}"), "expected path or grpc, got both"},
		{upstream("health_check: {grpc: {service: a.B}}"), "is for upstreams with protocol: h2c or h2"},
		{upstream("tls: {cert: c}"), "expected both cert and key"},
		{upstream("tls: {ca: c}"), "warning: upstreams[0].tls (upstream/u): no endpoint is https://"},
		{route("timeouts: {response: 31s}"), "warning: routes[0].timeouts.response (route/r): is longer than request, which is 30s by upstream u"},
		{upstream("timeouts: {response: 31s, request: 30s}"), "31s for one try is longer than request, 30s for all"},
		{upstream("timeouts: {connect: 2s, response: 1s}"), "2s is longer than response, 1s"},
		{upstream("retries: {on: [501]}"), "expected connect_failure, reset"},
		{upstream("retries: {on: []}"), "retries.on (upstream/u): expected one element at least, or the key left out"},
		{upstream("retries: {attempts: 11}"), "expected 1 to 10, got 11"},
		{upstream("outlier: {max_ejected_percent: 101}"), "expected 0 to 100, got 101"},
		{upstream("max_connections: -1"), "max_connections (upstream/u): expected 1 to"},

		{"routes: [{name: r}]", "routes[0] (route/r): expected one of upstream, split, redirect, respond"},
		{route("respond: {status: 200}"), "got upstream and respond"},
		{"routes: [{name: r, upstream: u}]", `no upstream "u"`},
		{route("limits: [x]"), `routes[0].limits[0] (route/r): no limit "x"`},
		{route("tenants: [x]"), `routes[0].tenants[0] (route/r): no tenant "x"`},
		{route("tenants: []"), "routes[0].tenants (route/r): expected one element at least"},
		{route("mirror: {upstream: v, percent: 1}"), `no upstream "v"`},
		{route("mirror: {upstream: u, percent: 101}"), "expected 0 to 100, got 101"},
		{answer("mirror: {upstream: u, percent: 1}"), "nothing is sent to an upstream"},
		{answer("error_pages: [{on: [200], body: a}]"), "error_pages[0].on[0] (route/r): expected one of 4xx, 5xx, 400, "},
		{answer("error_pages: [{on: [no_route], body: a}]"), `got "no_route"`},
		{answer("error_pages: [{on: [], body: a}]"), "error_pages[0].on (route/r): expected one element at least"},
		{answer("error_pages: [{body: a}, {on: [503], body: b}]"), "error_pages[1] (route/r): the page before is for every error already"},
		{answer("error_pages: [{body: a, content_type: html}]"), "expected a media type such as text/html"},
		{answer("error_pages: [{body: " + strings.Repeat("a", 64<<10+1) + "}]"), "expected at most 65536 bytes, got 65537"},
		{up + "routes: [{name: r, split: [{upstream: u, weight: 0}]}]", "split (route/r): expected a weight above 0"},
		{up + "routes: [{name: r, split: []}]", "expected a weight above 0"},
		{up + "routes: [{name: r, split: [{upstream: u, weight: 1}, {upstream: u, weight: 2}]}]", "split[1].upstream (route/r): u is there already"},
		{answer("hosts: ['a.io:80']"), "without port"},
		{answer("hosts: ['a.*.io']"), "expected \"*\""},
		{answer("hosts: [a.io, A.io]"), "warning: routes[0].hosts[1]"},
		{answer("match: [{path: a}]"), "match[0].path (route/r): expected a path from /"},
		{answer("match: [{path_prefix: /a//b}]"), "match[0].path_prefix (route/r): expected a path"},
		{answer("match: [{path: /a/../b}]"), "expected a path"},
		{answer("match: [{path: /a%2}]"), "expected a path"},
		{answer("match: [{path: /a, path_prefix: /b}]"), "got path and path_prefix"},
		{answer("match: [{path_regex: '('}]"), "expected a regular expression of RE2"},
		{answer("match: [{path_regex: 'a)|(b'}]"), "expected a regular expression of RE2"},
		{answer("match: [{path_regex: '((a{100}){10}){10}'}]"), "expected a"},
		{answer("match: [{methods: [get]}]"), "expected GET"},
		{answer("match: [{methods: ['G T']}]"), "expected a method"},
		{answer("match: [{headers: [{name: 'a b', value: c}]}]"), "expected a header name"},
		{answer("match: [{headers: [{name: a, value: c}, {name: A, value: d}]}]"), "only the first counts"},
		{answer("listeners: ['a b']"), "expected the name of a listener"},
		{answer("rewrite: {path: /x}"), "cannot be combined with respond"},
		{route("rewrite: {}"), "expected path, path_prefix or host"},
		{route("rewrite: {path: /a, path_prefix: /b}"), "got path and path_prefix"},
		{route("match: [{path: /a}], rewrite: {path_prefix: /b}"), "match[0] does not match by path_prefix"},
		{route("match: [{path_prefix: /a}, {path_regex: /c}], rewrite: {path_prefix: /b}"), "warning: routes[0].rewrite.path_prefix (route/r): match[1] does not match by path_prefix"},
		{"routes: [{name: r, match: [{path: /a}], redirect: {path_prefix: /b}}]", "match[0] does not match by path_prefix"},
		{route("rewrite: {host: 'a b'}"), "expected a host"},
		{"routes: [{name: r, redirect: {status: 308}}]", "would lead to itself"},
		{"routes: [{name: r, redirect: {scheme: ftp}}]", "expected http or https"},
		{"routes: [{name: r, redirect: {host: a, status: 305}}]", "expected 301, 302"},
		{"routes: [{name: r, redirect: {host: a}, rewrite: {host: b}}]", "cannot be combined with redirect"},
		{answer("request_headers: {set: {Content-Length: 1}}"), "content-length is the gateway's own"},
		{answer("request_headers: {set: {host: a}}"), "host is changed by rewrite.host"},
		{answer("request_headers: {set: {x: \"a\\nb\"}}"), "without control characters"},
		{answer("response_headers: {remove: ['']}"), "response_headers.remove[0] (route/r): expected a header name"},
		{answer("allow: {cidrs: [10.0.0.0/33]}"), "allow.cidrs[0] (route/r): expected a network"},
		{answer("deny: {cidrs: [10.0.0.1/8]}"), "warning: routes[0].deny.cidrs[0] (route/r): 10.0.0.1/8 has bits beyond its mask: 10.0.0.0/8 is meant"},
		{answer("priority: urgent"), "expected critical, high, normal or low"},
		{answer("encoded_slashes: decode"), "expected reject or keep"},
		{answer("auth: [{}]"), "expected one of jwt"},
		{answer("auth: [{jwt: {jwks: f, algorithms: [none]}}]"), "expected one of RS256"},
		{answer("auth: [{forward: {url: /x}}]"), "expected an http:// or https:// URL"},
		{answer("auth: [{forward: {url: \"http://me:secret@h/x\"}}]"), "expected an http:// or https:// URL"},
		{answer("cors: {origins: ['*'], credentials: true}"), "browsers refuse *"},
		{answer("cors: {origins: [a.io]}"), "expected \"*\" or an origin"},
		{answer("compress: {encodings: [br]}"), "expected zstd or gzip"},
		{"routes: [{name: r, respond: {status: 99}}]", "expected 200 to 599, got 99"},
		{"routes: [{name: r, respond: {status: 204, body: x}}]", "an answer 204 has no body"},
		{answer("timeouts: {connect: 1s}"), "is of upstreams only"},
		{answer("timeouts: {idle: 48h}"), "expected at most 24h, got 48h"},
		{
			"routes: [{name: a, hosts: [x.io], respond: {status: 200}}, {name: b, hosts: [X.io], match: [{path_prefix: /}], respond: {status: 200}}]",
			`warning: routes[1].match[0] (route/b): routes[0].match[0] of route "a" takes the same requests of host "x.io": the older answers`,
		},

		{limit("burst: 5"), "expected a rate, a concurrency or both"},
		{limit("rate: 0/s"), "rate (limit/l): expected 1 to"},
		{limit("rate: 1/s, burst: 0"), "burst (limit/l): expected 1 to"},
		{limit("concurrency: 1, burst: 1"), "is of a rate, and none is given"},
		{limit("rate: 1/s, key: [cookie]"), "expected tenant, client_ip"},
		{limit("rate: 1/s, key: [none, tenant]"), "none stands alone"},
		{limit("rate: 1/s, wait: 1s"), "expected auto or a duration up to 500ms"},
		{limit("rate: 1/s, when_isolated: 2"), "expected open or a part from 0 to 1"},
		{limit("rate: 1/s, scope: region"), "expected mesh or node"},

		{tenant("priority: low"), "expected how requests of the tenant are known"},
		{tenant("identify: {header: x}"), "expected the value that the header must have"},
		{tenant("identify: {header: x, value: y, mtls_san: z}"), "got header and mtls_san"},
		{tenant("identify: {api_key_sha256: [abc]}"), "64 digits"},
		{
			"tenants: [{name: a, identify: {mtls_san: x}}, {name: b, identify: {mtls_san: x}}]",
			`tenants[1].identify.mtls_san (tenant/b): identifies tenant "a" already`,
		},
	} {
		f, err := routefile.Decode(nil, tabletest.File(c.file))
		if err != nil {
			t.Errorf("%s\n%v", c.file, err)
			continue
		}
		problems := f.Validate()
		if got := problems.Error(); !strings.Contains(got, c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.file, got, c.want)
		}
		for _, p := range problems {
			if p.Line == 0 {
				t.Errorf("%s\nno line for %s", c.file, p.Message)
			}
		}
	}
}

func TestAFaultyObjectIsLeftOutAndTheRestServed(t *testing.T) {
	t.Parallel()
	table, problems := routetable.Compile(&routetable.Spec{
		Upstreams: []routetable.Upstream{{Name: "bad", Protocol: "gopher"}},
		Routes: []routetable.Route{
			tabletest.Respond("good", nil),
			tabletest.Respond("faulty", nil, routetable.Match{PathRegex: "("}),
			{Name: "dangling", Match: []routetable.Match{{Path: "/x"}}, Upstream: "bad"},
		},
	})
	if n := len(problems.Errors()); n != 2 {
		t.Errorf("got %d errors, want 2: %v", n, problems)
	}
	var got []string
	for _, r := range table.Rules() {
		got = append(got, fmt.Sprintf("%s[%d] %s", r.Name, r.Index, r.Broken))
	}
	if want := `dangling[0] upstream "bad" not found|good[1] `; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", strings.Join(got, "|"), want)
	}
	if hit, ok := table.Match(get("h", "/x")); !ok || hit.Rule.Name != "dangling" {
		t.Errorf("a broken route lets its requests fall to another")
	}
}
