package replica_test

import (
	"testing"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable/replica"
)

func TestAFileTakesWhatIsNobodysAndLeavesWhatIsAnothers(t *testing.T) {
	t.Parallel()
	s := replica.NewStore("a")
	apply(t, s, replica.Edit{Spec: spec("x")})
	if p := apply(t, s, replica.Edit{Spec: spec("x"), Source: "one"}); p.NoChange() {
		t.Error("the file did not take what was nobody's")
	}
	if p := apply(t, s, replica.Edit{Spec: spec("x"), Source: "two"}); !p.NoChange() {
		t.Error("the same content under another name made a version")
	}
	apply(t, s, replica.Edit{Source: "two"})
	if got := ruleNames(s); len(got) != 1 {
		t.Errorf("got %v: a file deleted what another owns", got)
	}
	apply(t, s, replica.Edit{Source: "one"})
	if got := ruleNames(s); len(got) != 0 {
		t.Errorf("got %v: what was removed from the file is still there", got)
	}
}

func TestAnEditLeavesTheRulesOfOtherRoutesAsTheyAre(t *testing.T) {
	t.Parallel()
	s := replica.NewStore("a")
	apply(t, s, replica.Edit{Spec: tabletest.Big(1000)})
	before := s.Table()
	apply(t, s, replica.Edit{Spec: spec("a-new-one", "route-00007"), Delete: []string{"route/route-00500"}})
	kept := 0
	for _, r := range s.Table().Rules() {
		if before.Rule(r.Name) == r {
			kept++
		}
	}
	if kept != 998 {
		t.Errorf("%d of 998 rules were kept", kept)
	}
}
