package main

import (
	"strings"
	"testing"

	"github.com/meshgw/meshgw/api"
)

func TestLimitsAreShownWithWhoUsesThem(t *testing.T) {
	var b strings.Builder
	err := printLimits(&b, []api.LimitUse{{
		Limit:   api.Limit{Name: "orders", Rate: "100/s", Burst: 200, Concurrency: 5, Scope: "mesh", Allowed: 7, Refused: 3},
		Tracked: 1,
		Keys: []api.LimitKey{{
			Key: "00ff", Of: "tenant=acme", Kind: "rate", Home: "eu-1", Mode: "isolated", Why: "the home does not answer", Leased: true, Lease: 40,
			Users: []api.LimitUser{{Node: "eu-2", Demand: 90, Lease: 40, AgeMS: 1500, Silent: true}},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"100/s, burst 200, 5 at once", "scope mesh", "7 allowed and 3 refused", "tenant=acme", "eu-1", "isolated", "the home does not answer",
		"eu-2", "asks 90.0, leases 40.0, heard 1.5 s ago, silent",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}
