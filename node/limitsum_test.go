package node

import (
	"reflect"
	"testing"

	"github.com/meshgw/meshgw/api"
)

func TestLimitsOfTheMeshAreWhatItsNodesSayTogether(t *testing.T) {
	pool := 3.0
	of := func(allowed uint64, k api.LimitKey) []api.LimitUse {
		k.Key, k.Kind = "00ff", "rate"
		return []api.LimitUse{{Limit: api.Limit{Name: "l", Rate: "10/s", Allowed: allowed}, Tracked: 1, Keys: []api.LimitKey{k}}}
	}
	sum := limitSum{at: map[string]int{}}
	sum.add("a", of(1, api.LimitKey{Home: "b", Mode: "normal", Leased: true, Lease: 2, Demand: 3, Admitted: 4}))
	sum.add("b", of(2, api.LimitKey{Of: "tenant=acme", Home: "b", Mode: "normal", Pool: &pool, Users: []api.LimitUser{
		{Node: "a", Demand: 3, Lease: 2, AgeMS: 7}, {Node: "d", Demand: 9, Lease: 5, Silent: true},
	}}))
	sum.add("c", of(3, api.LimitKey{Home: "b", Mode: "isolated", Why: "the home does not answer", Demand: 1, Waiting: 2}))
	silent := []api.Unanswered{{Node: "d", Reason: "timed out"}}
	want := []api.LimitUse{{
		Limit: api.Limit{Name: "l", Rate: "10/s", Allowed: 6}, Tracked: 1, Unanswered: silent,
		Keys: []api.LimitKey{{
			Key: "00ff", Of: "tenant=acme", Kind: "rate", Home: "b", Mode: "isolated", Why: "the home does not answer, at c",
			Leased: true, Lease: 2, Demand: 4, Admitted: 4, Waiting: 2, Pool: &pool,
			Users: []api.LimitUser{
				{Node: "d", Demand: 9, Lease: 5, Silent: true},
				{Node: "a", Demand: 3, Lease: 2, AgeMS: 7},
				{Node: "c", Demand: 1},
			},
		}},
	}}
	if got := sum.limits(silent); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}
