package dataplane

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgw/meshgw/routetable"
)

func TestATunnelWhoseRouteWasDeletedEndsInTime(t *testing.T) {
	table := func(routes ...string) *routetable.Table {
		var spec routetable.Spec
		for _, name := range routes {
			spec.Routes = append(spec.Routes, routetable.Route{Name: name, Respond: &routetable.Respond{Status: 200}})
		}
		compiled, problems := routetable.Compile(&spec)
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		return compiled
	}
	synctest.Test(t, func(t *testing.T) {
		var all tunnels
		ended := make(chan string, 5)
		var remove func()
		for _, route := range []string{"stays", "goes", "returns", "late", "closed"} {
			has := table("stays", "goes", "returns", "closed") // and late was deleted as its tunnel began
			remove = all.add(route, func() { ended <- route }, func() *routetable.Table { return has })
		}
		all.follow(table("stays"))
		remove()
		time.Sleep(orphanLasts / 2)
		all.follow(table("stays", "returns"))
		time.Sleep(orphanLasts)
		synctest.Wait()
		close(ended)
		var got []string
		for route := range ended {
			got = append(got, route)
		}
		slices.Sort(got)
		if !slices.Equal(got, []string{"goes", "late"}) || len(all.open) != 4 {
			t.Errorf("ended: %v, %d are known", got, len(all.open))
		}
	})
}
