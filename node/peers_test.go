package node

import (
	"slices"
	"testing"

	"github.com/meshgw/meshgw/gossip"
	"github.com/meshgw/meshgw/roster"
)

func TestOnlyWhoWentIsForgotten(t *testing.T) {
	old, anew, other := roster.Node{ID: "old", Name: "eu-1"}, roster.Node{ID: "anew", Name: "eu-1"}, roster.Node{ID: "other", Name: "eu-2"}
	for name, tt := range map[string]struct {
		changes []gossip.Change // of eu-1
		first   []roster.Node   // known at the first
		then    []roster.Node   // known at the others
		want    []string        // forgotten at the last
	}{
		"a node that failed":              {[]gossip.Change{gossip.Failed, gossip.Forgotten}, []roster.Node{old, other}, []roster.Node{old, other}, []string{"old"}},
		"one that left":                   {[]gossip.Change{gossip.Left, gossip.Forgotten}, []roster.Node{old}, []roster.Node{old, other}, []string{"old"}},
		"one that is back without a disk": {[]gossip.Change{gossip.Failed, gossip.Forgotten}, []roster.Node{old, other}, []roster.Node{anew, other}, []string{"old"}},
		"one that came back and went":     {[]gossip.Change{gossip.Failed, gossip.Joined, gossip.Failed, gossip.Forgotten}, []roster.Node{old}, []roster.Node{anew}, []string{"anew"}},
		"one that went before this began": {[]gossip.Change{gossip.Forgotten}, []roster.Node{old, other}, nil, []string{"old"}},
		"one that failed and is back":     {[]gossip.Change{gossip.Failed, gossip.Joined}, []roster.Node{old}, []roster.Node{old}, nil},
		"one whose tags changed":          {[]gossip.Change{gossip.Updated}, []roster.Node{old}, nil, nil},
	} {
		d, known := departures{}, tt.first
		var got []string
		for _, change := range tt.changes {
			got = d.follow("eu-1", change, known)
			known = tt.then
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v are forgotten, want %v", name, got, tt.want)
		}
		if tt.want != nil && len(d) > 0 {
			t.Errorf("%s: %v is kept", name, d)
		}
	}
}
