package node

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestTheOnlySoundSnapshotOutlivesAWriteThatFails(t *testing.T) {
	dir := t.TempDir()
	wrote(t, dir, "one")
	wrote(t, dir, "two")
	path := filepath.Join(dir, tableFile)
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".new", 0o700); err != nil { // no table can be written
		t.Fatal(err)
	}
	for range 2 {
		var log bytes.Buffer
		r := livesIn(t, dir, &log)
		if v := r.table().Version(); v != 1 {
			t.Fatalf("version %d, want 1; log %s", v, log.String())
		}
		if err := r.dir.WriteKeeping(tableFile, r.store.Snapshot()); err == nil {
			t.Fatal("the write did not fail")
		}
		r.dir.Close()
	}
}
