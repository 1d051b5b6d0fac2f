package api_test

import (
	"slices"
	"testing"

	"github.com/meshgw/meshgw/api"
)

func TestAnEndpointIsBusyAsLongAsANodeSendsOrMay(t *testing.T) {
	use := api.EndpointUse{
		Nodes: []api.NodeUse{
			{Node: "a", RoutesVersion: 7, Known: true},
			{Node: "b", RoutesVersion: 6, Known: true},
			{Node: "c", RoutesVersion: 8, Known: true, Weight: 100},
			{Node: "d", RoutesVersion: 7, Known: true, Inflight: 3},
			{Node: "e", RoutesVersion: 8},
		},
		Unanswered: []api.Unanswered{{Node: "f", Reason: "not alive"}},
	}
	want := []string{
		"b holds version 6",
		"c sends to it: its weight is 100",
		"d has 3 in flight",
		"e has it in its table no more, and cannot tell what is in flight",
		"f does not answer and may send to it: not alive",
	}
	if got := use.Busy(7); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	use.Nodes, use.Unanswered = use.Nodes[:1], nil
	if got := use.Busy(7); len(got) != 0 {
		t.Errorf("drained: %q", got)
	}
}
