package roster_test

import (
	"testing"

	"github.com/meshgw/meshgw/roster"
)

func TestANodeThatLostItsIdentityForgetsTheFormerOne(t *testing.T) {
	former, now, peer := roster.New("id-a", 9), roster.New("id-b", 1), roster.New("id-c", 1)
	former.Tell(sample)
	n := sample
	n.StartedAt -= 1_000_000_000 // and its clock was set back
	n.Routes.Version = 8
	now.Tell(n)
	n.Name = "eu-2"
	peer.Tell(n)
	tell(t, former, peer)
	tell(t, peer, now)
	tell(t, now, peer)
	for _, r := range []*roster.Roster{now, peer} {
		nodes := r.Nodes()
		if len(nodes) != 2 || nodes[0].ID != "id-b" || nodes[0].Routes.Version != 8 || nodes[1].ID != "id-c" {
			t.Errorf("got %+v, want the identities of now alone", nodes)
		}
	}
	if got, _ := peer.ByName("eu-1"); got.ID != "id-b" {
		t.Errorf("eu-1 is %s, want id-b", got.ID)
	}
}

func TestANodeThatIsRenamedForgetsWhoHadTheName(t *testing.T) {
	former, now := roster.New("id-a", 1), roster.New("id-b", 1)
	former.Tell(sample)
	n := sample
	n.Name = "other"
	now.Tell(n)
	tell(t, former, now)
	now.Tell(sample)
	if nodes := now.Nodes(); len(nodes) != 1 || nodes[0].ID != "id-b" {
		t.Errorf("got %+v, want id-b alone", nodes)
	}
}
