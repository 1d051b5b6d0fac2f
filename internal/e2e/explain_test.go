package e2e

import (
	"os"
	"testing"
)

func TestExplainSaysWhichRouteAnswersAndWhatCameClose(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	file := w.dir + "/routes.yaml"
	if err := os.WriteFile(file, []byte(`routes:
  - name: beta
    hosts: [api.example.com]
    match: [{path_prefix: /v1, headers: [{name: x-beta, value: "1"}]}]
    respond: {status: 200, body: beta}
  - name: all
    respond: {status: 200, body: all}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("meshgw", "routes", "apply", file, "--admin", a.listen.Admin)
	with := w.run("meshgw", "routes", "explain", "GET", "http://api.example.com/v1/x", "-H", "x-beta: 1", "--admin", a.listen.Admin)
	wantIn(t, "with the header", with, "beta")
	without := w.run("meshgw", "routes", "explain", "GET", "http://api.example.com/v1/x", "--admin", a.listen.Admin)
	wantIn(t, "without", without, "all", "beta", "x-beta")
	t.Log(with + without)
}
