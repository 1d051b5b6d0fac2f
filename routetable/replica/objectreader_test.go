package replica_test

import (
	"fmt"
	"testing"

	"github.com/meshgw/meshgw/routetable/replica"
)

// One decoder reads all objects of a message: what one of them leaves behind must
// not reach the next.
func TestAnUnsoundObjectLeavesThoseAfterItAlone(t *testing.T) {
	t.Parallel()
	unsound := []string{
		`{"name":"bad","hologram":true}`, `{"name":"bad"} {"name":"more"}`, `{"name":7,"respond":{"status":418}}`, `null`, `[]`, `7`,
	}
	for _, bad := range unsound {
		s := replica.NewStore("a")
		data := forge(1, 0, "bad", bad)
		data = append(data, forge(2, 0, "good", `{"name":"good","respond":{"status":200}}`)...)
		data = append(data, forge(3, 0, "worse", bad)...)
		data = append(data, forge(4, 0, "last", `{"name":"last","hosts":["a.io"],"respond":{"status":204}}`)...)
		if bad == unsound[1] { // no JSON: the message is refused whole
			if err := s.Merge(data); err == nil || len(s.Table().Rules()) > 0 {
				t.Errorf("%s: merged, %v", bad, ruleNames(s))
			}
			continue
		}
		if err := s.Merge(data); err != nil {
			t.Fatalf("%s: %v", bad, err)
		}
		got := fmt.Sprint(ruleNames(s), len(s.Held()))
		for _, r := range s.Table().Rules() {
			got += fmt.Sprint(" ", r.Spec.Hosts, r.Respond.Status)
		}
		if want := "[good last] 2 [] 200 [a.io] 204"; got != want {
			t.Errorf("%s: got %s, want %s", bad, got, want)
		}
	}
}
