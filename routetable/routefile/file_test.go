package routefile_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

func TestAFileWrittenOutReadsBackTheSame(t *testing.T) {
	t.Parallel()
	f := tabletest.Full(t)
	for name, encode := range map[string]func(*routetable.Spec) ([]byte, error){"yaml": routefile.EncodeYAML, "json": routefile.EncodeJSON} {
		data, err := encode(f.Spec)
		if err != nil {
			t.Fatal(err)
		}
		again, err := routefile.Decode(nil, routefile.Source{Name: name, Data: data})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(again.Spec, f.Spec) {
			t.Errorf("%s: got\n%s", name, data)
		}
	}
}

func TestANumberWhoseZeroWouldBeTheDefaultIsNotZero(t *testing.T) {
	t.Parallel()
	const text = `upstreams:
  - name: u
    endpoints: [{url: "http://a", weight: 0}]
    health_check: {path: /, interval: 0s, timeout: 0, unhealthy_after: 0, healthy_after: 0}
    circuit_breaker: {consecutive_failures: 0, open_for: 0}
    retries: {attempts: 0, budget_percent: 0}
    timeouts: {connect: 0s, response: 0}
    max_connections: 0
    max_pending: 0
routes:
  - {name: r, redirect: {port: 0, path: /, status: 0}, max_body: 0, cors: {origins: ["*"], max_age: 0}, compress: {min_bytes: 0}}
limits:
  - {name: l, rate: 1/s, concurrency: 0}
tenants:
  - {name: t, identify: {mtls_san: a}, limits: {concurrency: 0}}
`
	_, err := routefile.Decode(nil, tabletest.File(text))
	problems, _ := errors.AsType[routetable.Problems](err)
	var got []string
	for _, p := range problems {
		if !strings.Contains(p.Message, "expected more than 0, or the key left out, got ") || p.Line == 0 {
			t.Errorf("got %s", p.Error())
		}
		got = append(got, p.Path)
	}
	want := []string{
		"upstreams[0].health_check.interval", "upstreams[0].health_check.timeout",
		"upstreams[0].health_check.unhealthy_after", "upstreams[0].health_check.healthy_after",
		"upstreams[0].circuit_breaker.consecutive_failures", "upstreams[0].circuit_breaker.open_for",
		"upstreams[0].retries.attempts", "upstreams[0].max_connections",
		"routes[0].redirect.port", "routes[0].redirect.status", "routes[0].compress.min_bytes",
		"limits[0].concurrency", "tenants[0].limits.concurrency",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// What a file says has to be the same after its way through the mesh: a number that
// JSON leaves out has to be one that a file cannot say.
func TestWhatJSONLeavesOutAFileCannotSay(t *testing.T) {
	t.Parallel()
	f, err := routefile.Decode(nil, tabletest.File(`
upstreams: [{name: u, endpoints: [{url: "http://a", weight: 0}], max_pending: 0, outlier: {max_ejected_percent: 0}, timeouts: {connect: 0}, retries: {budget_percent: 0}}]
routes: [{name: r, upstream: u, max_body: 0, cors: {origins: ["*"], max_age: 0s}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	data, err := routefile.EncodeJSON(f.Spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"weight", "max_pending", "max_ejected_percent", "connect", "budget_percent", "max_body", "max_age"} {
		if !strings.Contains(string(data), `"`+want+`"`) {
			t.Errorf("%s is lost in %s", want, data)
		}
	}
}

func TestDecodeReportsEveryMistakeAtItsPlace(t *testing.T) {
	t.Parallel()
	_, err := routefile.Decode(tabletest.Env, tabletest.File("routes:\n  - name: x\n    hots: [a]\n    upstream: [1]\n"+
		"    max_body: 3furlongs\n    timeouts: {request: abc, idle: }\n  - {name: x, name: y, split: {a: b}}\nfoo: 1\nlimits: 3\n"+
		"tenants:\n- name: ${NOPE}\n- {priority: high}\n"))
	got := err.Error()
	for _, want := range []string{
		`f.yaml:3:5: routes[0].hots: unknown key "hots", did you mean "hosts"?` + "\n  3 |     hots: [a]\n    |     ^\n",
		"f.yaml:4:15: routes[0].upstream: expected text, got a list",
		`f.yaml:5:15: routes[0].max_body: expected a size such as 512, 64KiB or 10MiB, got "3furlongs"`,
		`f.yaml:6:25: routes[0].timeouts.request: expected a duration such as 500ms, 30s or 5m, got "abc"`,
		"f.yaml:6:36: routes[0].timeouts.idle: expected a duration, got nothing",
		`f.yaml:7:12: routes[1].name: "x" is there already, at f.yaml:2:11`,
		`f.yaml:7:15: key "name" is there already, in line 7`,
		"f.yaml:7:32: routes[1].split: expected a list, got a mapping",
		`f.yaml:8:1: unknown key "foo"`,
		"f.yaml:9:9: limits: expected a list, got a value",
		"f.yaml:11:3: tenants[0].identify (tenant/): expected how requests",
		"f.yaml:11:9: environment variable NOPE is not set",
		"f.yaml:12:4: tenants[1]: name is missing",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing:\n%s", want)
		}
	}
	if ps, ok := errors.AsType[routetable.Problems](err); !ok || len(ps) != 13 || t.Failed() {
		t.Errorf("got %d problems, want 13:\n%s", len(ps), got)
	}
}

func TestDecodeRefusesHostileFiles(t *testing.T) {
	t.Parallel()
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'i'; c++ {
		p := string(c - 1)
		bomb += fmt.Sprintf("%c: &%c [*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s]\n", c, c, p, p, p, p, p, p, p, p, p, p)
	}
	for name, text := range map[string]string{
		"brackets":    strings.Repeat("[", 100_000),
		"dashes":      strings.Repeat("- ", 100_000),
		"questions":   strings.Repeat("? ", 100_000),
		"bomb":        bomb,
		"circle":      "routes: &a [*a]",
		"no anchor":   "routes: *a",
		"not utf-8":   "routes: \xff",
		"tag":         "routes: !!binary aGk=",
		"documents":   "routes: []\n---\nroutes: []\n",
		"scalar":      "hello",
		"empty":       "",
		"comments":    "# routes:\n---\n",
		"environment": "routes: [{name: '${', upstream: '${A B}'}]",
		"tab":         "routes:\n\t- name: x\n",
	} {
		_, err := routefile.Decode(tabletest.Env, tabletest.File(text))
		if ps, ok := errors.AsType[routetable.Problems](err); !ok || len(ps) == 0 || ps[0].Line == 0 {
			t.Errorf("%s: got %v, want a problem with its line", name, err)
		}
	}
	if _, err := routefile.Decode(nil, tabletest.File("routes: [{name: 'a', upstream: '${ENV}'}]")); err == nil {
		t.Error("an environment reference was resolved where there is no environment")
	}
}

func TestAFileMaySayThatThereIsNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"routes: []\n", "{}", "limits:\n"} {
		if f, err := routefile.Decode(tabletest.Env, tabletest.File(text)); err != nil || len(f.Spec.Routes) > 0 {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := routefile.Decode(tabletest.Env, tabletest.File(""), tabletest.File("routes: []")); err != nil {
		t.Errorf("an empty file beside another: %v", err)
	}
}

func TestAnchorsMergesAndEnvironment(t *testing.T) {
	t.Parallel()
	f, err := routefile.Decode(tabletest.Env, tabletest.File(`
upstreams:
  - &base {name: a, endpoints: &e [{url: "http://a", weight: "${WEIGHT}"}], max_connections: 5}
  - {<<: *base, name: b}
  - {name: "c-${EMPTY:-d}", endpoints: *e}
  - name: d
    max_connections: ${WEIGHT}
    endpoints: *e
`))
	if err != nil {
		t.Fatal(err)
	}
	if u := f.Spec.Upstreams; u[1].Name != "b" || u[1].MaxConnections != 5 || *u[0].Endpoints[0].Weight != 7 || u[3].MaxConnections != 7 || u[2].Name != "c-d" || u[2].Endpoints[0].URL != "http://a" {
		t.Errorf("got %+v", u)
	}
}

func TestSeveralFilesAreOne(t *testing.T) {
	t.Parallel()
	one := routefile.Source{Name: "one.yaml", Data: []byte("upstreams:\n  - name: u\n    endpoints: [{url: \"http://a\"}]\n")}
	two := routefile.Source{Name: "two.json", Data: []byte(`{"defaults": {"route": {"priority": "low"}}, "routes": [{"name": "r", "upstream": "u"}, {"name": "s", "upstream": "v", "priority": "high"}]}`)}
	f, err := routefile.Decode(nil, one, two)
	if err != nil {
		t.Fatal(err)
	}
	if r := f.Spec.Routes; r[0].Priority != "low" || r[1].Priority != "high" {
		t.Errorf("got %+v", r)
	}
	ps := f.Validate().Errors()
	if len(ps) != 1 || !strings.HasPrefix(ps[0].Error(), `two.json:1:115: routes[1].upstream (route/s): no upstream "v"`) {
		t.Errorf("got %v", ps)
	}
	_, err = routefile.Decode(nil, one, routefile.Source{Name: "three.yaml", Data: one.Data})
	if err == nil || !strings.Contains(err.Error(), `three.yaml:2:11: upstreams[1].name: "u" is there already, at one.yaml:2:11`) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(tabletest.FullText())
	f.Add([]byte("routes: [{name: a, respond: {status: 200}}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := routefile.Decode(tabletest.Env, routefile.Source{Name: "f", Data: data})
		if err != nil {
			return
		}
		file.Validate()
		table, problems := routetable.Compile(file.Spec)
		if problems.Err() != nil {
			return
		}
		written, err := routefile.EncodeJSON(file.Spec)
		if err != nil {
			t.Fatal(err)
		}
		again, err := routefile.Decode(nil, routefile.Source{Name: "f", Data: written})
		if err != nil {
			t.Fatalf("%v of\n%s", err, written)
		}
		if other, _ := routetable.Compile(again.Spec); other.Digest() != table.Digest() {
			t.Fatalf("another table from\n%s", written)
		}
	})
}

// body is a file with one route, and a text in it.
func body(name, text string) *routetable.Spec {
	return &routetable.Spec{Routes: []routetable.Route{{
		Name: name, Match: []routetable.Match{{PathPrefix: "/" + name}}, Respond: &routetable.Respond{Status: 200, Body: text},
	}}}
}

func TestAnyTextSurvivesBeingWrittenOut(t *testing.T) {
	t.Parallel()
	hard := []string{"null", "~", "yes", "0x10", "1e3", "007", "<<", "=", "- a", "a: b", "a #b", "#", "'", "\"", "\\", "${A}", "$${A}", "$", "*a", "&a", "!t", "|", ">", "%", "@", "`", "{", "[", " a ", "a\n", "\na", "a\n\nb\n", "a\r\nb", "\t", "é\u2028", "\x00", "\u0085", "---", "...", "?", "? a", ":", "2001-01-01", ".nan", "true", "a\n b\n  c", "  a\nb", "\ufeff"}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.SampledFrom(hard), rapid.String())
		part := strings.ToValidUTF8(text.Draw(t, "one")+text.Draw(t, "two"), "")
		spec := body("r", part)
		spec.Routes[0].Match[0].Query = []routetable.NameValue{{Name: "q" + part, Value: part}}
		spec.Routes[0].Respond.Headers = map[string]string{part: "x"}
		for name, encode := range map[string]func(*routetable.Spec) ([]byte, error){"yaml": routefile.EncodeYAML, "json": routefile.EncodeJSON} {
			data, err := encode(spec)
			if err != nil {
				t.Fatal(err)
			}
			again, err := routefile.Decode(nil, routefile.Source{Name: name, Data: data})
			if err != nil {
				t.Fatalf("%s of %q: %v\n%s", name, part, err, data)
			}
			if !reflect.DeepEqual(again.Spec, spec) {
				t.Fatalf("%s of %q: got %+v from\n%s", name, part, again.Spec.Routes[0], data)
			}
		}
	})
}

func TestAByteOrderMarkMayStandAnywhereInAText(t *testing.T) {
	t.Parallel()
	for n := range 600 {
		spec := body("r", strings.Repeat("A", n)+"\ufeff")
		spec.Routes[0].Respond.Headers = map[string]string{spec.Routes[0].Respond.Body: "x"}
		data, err := json.MarshalIndent(spec, "", "  ") // not escaped, as others write it
		if err != nil {
			t.Fatal(err)
		}
		if _, err := routefile.Decode(nil, routefile.Source{Name: "j", Data: append(data, '\n')}); err != nil {
			t.Fatalf("after %d characters: %v", n, err)
		}
	}
}

func TestJSONIsRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"{\n\t\"routes\": [\n\t\t{\n\t\t\t\"name\": \"r\",\n\t\t\t\"respond\": {\"status\": 200, \"body\": \"a\\u00e9\\n\\/\\ud83d\\ude00\"}\n\t\t}\n\t]\n}\n",
		`{"routes":[{"name":"r","respond":{"status":200,"body":"aé\n/😀"}}]}`,
		"{\r\n  \"routes\": [{\"name\": \"r\", \"respond\": {\"status\": 200, \"body\": \"aé\\n/😀\"}}]\r\n}\r\n",
	} {
		f, err := routefile.Decode(nil, tabletest.File(text))
		if err != nil {
			t.Errorf("%v\nof %s", err, text)
			continue
		}
		if got := f.Spec.Routes[0].Respond.Body; got != "aé\n/😀" {
			t.Errorf("got %q of %s", got, text)
		}
	}
	_, err := routefile.Decode(nil, tabletest.File("{\n\t\"routes\": [\n\t\t{\"nam\": \"r\"}\n\t]\n}\n"))
	if err == nil || !strings.Contains(err.Error(), "f.yaml:3:4: routes[0].nam: unknown key \"nam\", did you mean \"name\"?\n  3 | \t\t{\"nam\": \"r\"}\n    | \t\t ^") {
		t.Errorf("got %v", err)
	}
}

func TestYAMLWritesTheJSONOfAChange(t *testing.T) {
	t.Parallel()
	got, err := routefile.YAML([]byte(`{"name":"r","hosts":["a"],"respond":{"status":200,"body":"${x}: 1"}}`))
	want := "name: r\nhosts:\n  - a\nrespond:\n  status: 200\n  body: \"${x}: 1\"\n"
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := routefile.YAML([]byte(`{"name"`)); err == nil {
		t.Error("half an object was written")
	}
}

func TestSyntaxIsExplainedAtItsPlace(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"routes:\n  - name: x\n   upstream: y\n":            "f.yaml:3:4: expected '-' indicator, while parsing a block collection from line 2 on\n  3 |    upstream: y",
		"routes:\n\t- name: x\n":                            "f.yaml:2:1: a tab where spaces are expected",
		"routes: [{name: \"unclosed}]\n":                    "f.yaml:1:17: found unexpected end of stream, while scanning a quoted scalar from line 1 on\n  1 | routes",
		"{\"routes\": [{\"name\": \"x\" \"upstream\": 1}]}": "f.yaml:1:26: expected ',' or '}', while parsing a flow mapping from line 1 on",
	} {
		if _, err := routefile.Decode(nil, tabletest.File(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestAWrongFormHidesNoOtherMistake(t *testing.T) {
	t.Parallel()
	_, err := routefile.Decode(nil, tabletest.File(`upstreams:
  - {name: u, endpoints: [{url: "10.0.0.1:80", weigth: 5}]}
routes:
  - {name: r, hosts: ["api.*.com"], upstrem: u}
  - {name: r, match: [{path_regex: "("}], upstream: v}
`))
	ps, _ := errors.AsType[routetable.Problems](err)
	var got []string
	for _, p := range ps {
		got = append(got, fmt.Sprintf("%d %s", p.Line, p.Path))
	}
	want := []string{
		"2 upstreams[0].endpoints[0].url", "2 upstreams[0].endpoints[0].weigth", "4 routes[0].hosts[0]",
		"4 routes[0].upstrem", "5 routes[1].name", "5 routes[1].match[0].path_regex",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\n%v", got, err)
	}
}

func TestAHostileFileCostsLittle(t *testing.T) {
	t.Parallel()
	keys := make([]string, 300)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%d: 1", i)
	}
	for name, test := range map[string]struct{ doc, want string }{
		"values":     {"routes: [" + strings.Repeat("1,", 4_000_001) + "1]", "more than 1000000 values"},
		"keys":       {"routes: [{" + strings.Join(keys, ",") + "}]", "more than 256 keys"},
		"mistakes":   {"routes: [" + strings.Repeat("{},", 20_000) + "{}]", "more than 1000 mistakes"},
		"duplicates": {"routes: [" + strings.Repeat("{name: a},", 20_000) + "{}]", "more than 1000 mistakes"},
		"objects":    {"routes: [" + strings.Repeat("1,", 100_000) + "1]", "more than 100000 objects"},
	} {
		_, err := routefile.Decode(nil, routefile.Source{Data: []byte(test.doc)})
		problems, _ := errors.AsType[routetable.Problems](err)
		if len(problems) == 0 || len(problems) > 1001 || !slices.ContainsFunc(problems, func(p routetable.Problem) bool { return strings.Contains(p.Message, test.want) }) {
			t.Errorf("%s: %d mistakes, want few, with %q among them", name, len(problems), test.want)
		}
	}
}
