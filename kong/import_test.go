package kong_test

import (
	"strings"
	"testing"

	"github.com/meshgw/meshgw/kong"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

// routesOf imports services (YAML, a flow list) and returns their routes by name.
func routesOf(t *testing.T, version, services, more string) (map[string]routetable.Route, []kong.Note) {
	t.Helper()
	spec, notes, err := kong.Import([]byte("_format_version: \"" + version + "\"\nservices: " + services + "\n" + more))
	if err != nil {
		t.Fatal(err)
	}
	if err := routetable.Validate(spec).Err(); err != nil {
		t.Errorf("%s: not valid: %v", services, err)
	}
	all := map[string]routetable.Route{}
	for _, r := range spec.Routes {
		all[r.Name] = r
	}
	return all, notes
}

func TestPathsAreReadAsTheirVersionMeansThem(t *testing.T) {
	for _, test := range []struct{ version, path, prefix, pattern string }{
		{"3.0", "/a", "/a", ""},
		{"3.0", "~/a/[0-9]+", "", "/a/[0-9]+.*"},
		{"3.0", "~/a$", "", "/a"},
		{"3.0", `~/a\$`, "", `/a\$.*`},
		{"2.1", "/a.b-c", "/a.b-c", ""},
		{"1.1", "/a/(b|c)", "", "/a/(b|c).*"},
	} {
		all, _ := routesOf(t, test.version, "[{name: s, host: h, routes: [{name: r, paths: ['"+test.path+"']}]}]", "")
		if m := all["r"].Match[0]; m.PathPrefix != test.prefix || m.PathRegex != test.pattern {
			t.Errorf("%s %s: %+v", test.version, test.path, m)
		}
	}
}

func TestThePluginNearestToARouteHolds(t *testing.T) {
	limits := func(n string) string { return "{name: rate-limiting, config: {second: " + n + ", limit_by: ip}}" }
	all, _ := routesOf(t, "3.0", "[{name: s, host: h, plugins: ["+limits("2")+"], routes: [{name: far}, {name: near, paths: [/n], plugins: ["+limits("3")+"]}, {name: free, paths: [/f], plugins: [{name: rate-limiting, enabled: false}]}]}]", "plugins: ["+limits("1")+"]")
	for name, want := range map[string]string{"far": "s-per-second", "near": "route-near-per-second", "free": ""} {
		if got := strings.Join(all[name].Limits, " "); got != want {
			t.Errorf("%s is held to %q, want %q", name, got, want)
		}
	}
}

// A route that Kong guards must not be open, also not by a wider one.
func TestWhatGuardsARouteAndIsNotKnownClosesIt(t *testing.T) {
	for _, guard := range []string{"jwt", "acl", "no-such-plugin", "{name: key-auth, config: {key_names: {}}}"} {
		if !strings.HasPrefix(guard, "{") {
			guard = "{name: " + guard + "}"
		}
		all, notes := routesOf(t, "3.0", "[{name: s, host: h, routes: [{name: open}, {name: shut, paths: [/admin], plugins: ["+guard+"]}]}]", "")
		if r := all["shut"]; r.Respond == nil || r.Respond.Status != 503 || r.Upstream != "" || len(r.Match) != 1 || len(notes) != 1 {
			t.Errorf("%s: %+v, %v", guard, r, notes)
		}
		if all["open"].Upstream != "s" {
			t.Errorf("%s closes %+v", guard, all["open"])
		}
	}
}

func TestAnACLKeepsARouteToTheTenantsOfItsGroups(t *testing.T) {
	const consumers = `
consumers:
- {username: ann, keyauth_credentials: [{key: a}], acls: [{group: gold}, {group: slow}]}
- {username: bob, keyauth_credentials: [{key: b}], acls: [{group: silver}]}
- {username: keyless, acls: [{group: gold}]}
`
	for config, want := range map[string]string{"allow: [gold, silver]": "ann bob", "allow: [gold]": "ann", "deny: [slow]": "bob", "allow: [none]": "", "allow: [gold], deny: [slow]": ""} {
		all, _ := routesOf(t, "3.0", "[{name: s, host: h, plugins: [{name: key-auth}], routes: [{name: r, plugins: [{name: acl, config: {"+config+"}}]}]}]", consumers)
		if r := all["r"]; strings.Join(r.Tenants, " ") != want || (want == "") != (r.Respond != nil) {
			t.Errorf("%s: %+v", config, r)
		}
	}
	top, _ := routesOf(t, "3.0", "[{name: s, host: h, plugins: [{name: key-auth}, {name: acl, config: {deny: [slow]}}], routes: [{name: r}]}]", consumers+"acls: [{consumer: bob, group: slow}]\n")
	if top["r"].Respond == nil {
		t.Errorf("bob may be denied, and the route is open: %+v", top["r"])
	}
}

// As Kong has it: the service learns who asks, and not by which key.
func TestAServiceIsToldTheConsumer(t *testing.T) {
	all, _ := routesOf(t, "3.0", "[{name: s, host: h, plugins: [{name: key-auth, config: {key_names: [k], hide_credentials: true}}, {name: request-transformer, config: {add: {headers: ['x-a: b']}, remove: {headers: [x-z]}}}], routes: [{name: r}]}]", "")
	ops := all["r"].RequestHeaders
	if ops == nil || ops.Set["x-consumer-username"] != "${tenant.name}" || ops.Set["x-a"] != "b" || strings.Join(ops.Remove, " ") != "k x-z" {
		t.Errorf("%+v", ops)
	}
}

func TestWhatIsNotImportedIsToldOnce(t *testing.T) {
	_, notes := routesOf(t, "3.0", "[{name: s, host: h, id: 1, client_certificate: {id: 2}, routes: [{name: q, paths: [/q]}, {name: r, regex_priority: 5}]}]",
		"plugins: [{name: prometheus}, {name: zipkin}]\ncertificates: [{cert: c}]\nvaults: []\n_transform: true\n")
	var got []string
	for _, n := range notes {
		got = append(got, n.String())
	}
	const want = "service/s: client_certificate is not imported\nplugins/global: plugin zipkin is not imported: instead, meshgw agent --otlp URL\nroute/r: regex_priority is not imported\nfile: certificates is not imported"
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestARouteThatWouldTakeEveryHostIsNotImported(t *testing.T) {
	all, notes := routesOf(t, "3.0", "[{name: s, host: h, routes: [{name: r, hosts: ['a.*']}]}]", "")
	if len(all) != 0 || len(notes) != 2 {
		t.Errorf("%v, %v", all, notes)
	}
}

func TestARouteOfTooManyMatchesIsNotImported(t *testing.T) {
	values := "[" + strings.Repeat("v,", 40) + "v]"
	all, notes := routesOf(t, "3.0", "[{name: s, host: h, routes: [{name: r, headers: {a: "+values+", b: "+values+"}}]}]", "")
	if len(all) != 0 || len(notes) != 1 {
		t.Errorf("%v, %v", all, notes)
	}
}

func TestObjectsMayStandAtTheTop(t *testing.T) {
	all, _ := routesOf(t, "3.0", "[{name: s, host: u}]", `
routes: [{name: r, service: s}, {name: q, service: {name: s}, paths: [/q]}, {name: alone}]
upstreams: [{name: u}]
targets: [{target: "10.0.0.1:80", upstream: u}]
plugins: [{name: cors, route: r}]
`)
	if len(all) != 2 || all["r"].CORS == nil || all["q"].CORS != nil || all["r"].Rewrite.Host != "10.0.0.1" {
		t.Errorf("%+v", all)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte("_format_version: \"3.0\"\nservices: [{name: a, url: http://b, routes: [{paths: [/c], plugins: [{name: cors}]}]}]"))
	f.Add([]byte("_format_version: \"1.1\"\nservices: [{name: a, host: b, routes: [{headers: {x: [y]}}]}]\nupstreams: [{name: b, targets: [{target: c}]}]"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if spec, _, err := kong.Import(doc); err == nil {
			if _, err := routefile.EncodeYAML(spec); err != nil {
				t.Errorf("%q: %v", doc, err)
			}
		}
	})
}
