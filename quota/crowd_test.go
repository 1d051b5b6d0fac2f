package quota_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/meshgw/meshgw/quota"
)

// A lease is as large as demand was. Where the limit has room, those who come all
// at once after a quiet time wait for more of it and are not refused.
func TestACrowdAfterAQuietTimeIsNotRefused(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		for _, quiet := range []time.Duration{100 * ms, time.Second, 5 * time.Second} {
			t.Run(fmt.Sprintf("nodes=%d,quiet=%s", nodes, quiet), func(t *testing.T) {
				l := rate("l", 1e6, 1e6)
				m := newMesh(t, nodes, l)
				a := ask(l, "k")
				node := m.stranger(a)
				m.load(2*time.Second, func(i int) float64 {
					if i == node {
						return 10
					}
					return 0
				}, a)
				m.run(quiet)
				var waiting []quota.Ticket
				for i := range 512 {
					switch d := m.take(node, a); d.Verdict {
					case quota.Deny:
						t.Fatalf("request %d of 512 is refused", i+1)
					case quota.Wait:
						waiting = append(waiting, d.Ticket)
					default:
					}
				}
				m.run(100 * ms)
				for _, ticket := range waiting {
					if d, ok := m.answer(node, ticket); !ok || d.Verdict != quota.Allow {
						t.Fatalf("of %d who wait, one gets %v, answered %v", len(waiting), d.Verdict, ok)
					}
				}
			})
		}
	}
}
