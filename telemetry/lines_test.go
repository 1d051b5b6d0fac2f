package telemetry_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/telemetry"
)

func TestTheLastLinesAreKeptInTheirOrder(t *testing.T) {
	var lines telemetry.Lines
	if got := lines.Last(10); len(got) != 0 {
		t.Errorf("at first: %q", got)
	}
	for i := range 2000 {
		fmt.Fprintf(&lines, `{"n":%d,"message":"event"}`+"\n", i)
		fmt.Fprint(&lines, `{"message":"request"}`+"\n")
	}
	fmt.Fprintf(&lines, `{"long":%q}`, strings.Repeat("x", 4096))
	got := lines.Last(3)
	for i, want := range []string{`{"n":1997,"message":"event"}`, `{"n":1998,"message":"event"}`, `{"n":1999,"message":"event"}`} {
		if i >= len(got) || string(got[i]) != want {
			t.Fatalf("got %q", got)
		}
	}
	if all := lines.Last(1 << 20); len(all) != 512 || string(all[0]) != `{"n":1488,"message":"event"}` {
		t.Errorf("%d lines, the first %s", len(all), all[0])
	}
}
