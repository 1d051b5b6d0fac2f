package replica_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable/replica"
)

var update = flag.Bool("update", false, "write snapshot.golden anew")

func TestSnapshotsOfOlderProgramsCanBeRead(t *testing.T) {
	t.Parallel()
	s := replica.NewStore("node-a")
	apply(t, s, replica.Edit{Spec: tabletest.Full(t).Spec, Source: "routes.yaml", Author: "ann", Message: "begin", At: time.Unix(1_700_000_000, 5)})
	apply(t, s, replica.Edit{Delete: []string{"route/teapot"}, Author: "bob"})
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
	// Nodes of two versions must find each other's copies equal, or they exchange them for ever.
	const digest = "0801120a080212066e6f64652d611a10d683c7841eb7cc1fbd655fff81cb53ea"
	if got := hex.EncodeToString(s.Digest()); got != digest {
		t.Errorf("got digest %s, want %s", got, digest)
	}
	old := replica.NewStore("node-b")
	if err := old.Restore(want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old.Digest(), s.Digest()) || old.History()[1].Message != "begin" || !old.History()[1].At.Equal(time.Unix(1_700_000_000, 5)) {
		t.Errorf("got %+v", old.History())
	}
}
