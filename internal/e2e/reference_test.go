package e2e

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestTheReferenceNamesEveryMetricOfANode(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	one := upstream(t, "one")
	a := w.start("a", "--routes", w.routeFile("routes.yaml", "/orders", one.URL))
	b := w.start("b", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b)
	if got, err := a.get("/orders/1"); err != nil || got.status != http.StatusOK {
		t.Fatalf("%+v, %v", got, err)
	}
	resp, err := http.Get("http://" + a.listen.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^# TYPE meshgw_(\w+) `).FindAllStringSubmatch(string(metrics), -1)
	if len(names) < 15 {
		t.Fatalf("found %d metrics", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(page), "| `"+name[1]+"` |") {
			t.Errorf("meshgw_%s is not in docs/reference.md", name[1])
		}
	}
}
