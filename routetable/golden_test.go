package routetable_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/meshgw/meshgw/routetable"
)

func TestSnapshotsOfOlderProgramsCanBeRead(t *testing.T) {
	t.Parallel()
	s := routetable.NewStore("node-a")
	apply(t, s, routetable.Edit{Spec: fullFile(t).Spec, Source: "routes.yaml", Author: "ann", Message: "begin", At: time.Unix(1_700_000_000, 5)})
	apply(t, s, routetable.Edit{Delete: []string{"route/teapot"}, Author: "bob"})
	const golden = "testdata/snapshot.golden"
	if *update {
		if err := os.WriteFile(golden, s.Snapshot(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.Snapshot(), want) {
		t.Error("the format has changed: older programs must still read it; then run with -update")
	}
	old := routetable.NewStore("node-b")
	if err := old.Restore(want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old.Digest(), s.Digest()) || old.History()[1].Message != "begin" || !old.History()[1].At.Equal(time.Unix(1_700_000_000, 5)) {
		t.Errorf("got %+v", old.History())
	}
}

func TestAFileTakesWhatIsNobodysAndLeavesWhatIsAnothers(t *testing.T) {
	t.Parallel()
	s := routetable.NewStore("a")
	apply(t, s, routetable.Edit{Spec: spec("x")})
	if p := apply(t, s, routetable.Edit{Spec: spec("x"), Source: "one"}); p.NoChange() {
		t.Error("the file did not take what was nobody's")
	}
	if p := apply(t, s, routetable.Edit{Spec: spec("x"), Source: "two"}); !p.NoChange() {
		t.Error("the same content under another name made a version")
	}
	apply(t, s, routetable.Edit{Source: "two"})
	if got := ruleNames(s); len(got) != 1 {
		t.Errorf("got %v: a file deleted what another owns", got)
	}
	apply(t, s, routetable.Edit{Source: "one"})
	if got := ruleNames(s); len(got) != 0 {
		t.Errorf("got %v: what was removed from the file is still there", got)
	}
}
