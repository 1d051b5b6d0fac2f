package datadir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func openDir(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestAnIdentityStaysAndItsIncarnationCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "by", "us")
	first, err := openDir(t, path).Begin()
	if err != nil || first.ID == "" || first.Incarnation != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	again := &Dir{path: path}
	second, err := again.Begin()
	if err != nil || second.ID != first.ID || second.Incarnation != 2 {
		t.Errorf("second start: %+v, %v", second, err)
	}
}

func TestADataDirBelongsToOneProcess(t *testing.T) {
	d := openDir(t, t.TempDir())
	if _, err := Open(d.path, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
	d.Close()
	openDir(t, d.path)
}

func TestADamagedIdentityIsSetAsideAndMadeAnew(t *testing.T) {
	d := openDir(t, t.TempDir())
	if err := os.WriteFile(filepath.Join(d.path, identityFile), []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := d.Begin()
	if err != nil || id.ID == "" {
		t.Fatalf("%+v, %v", id, err)
	}
	if kept, err := os.ReadFile(filepath.Join(d.path, identityFile+".damaged")); err != nil || string(kept) != "{half" {
		t.Errorf("kept %q, %v", kept, err)
	}
}

func TestAWriteLeavesTheOldOrTheNew(t *testing.T) {
	d := openDir(t, t.TempDir())
	if err := d.Write("f", []byte("old")); err != nil {
		t.Fatal(err)
	}
	// A process that died in the middle of a write left this behind.
	if err := os.WriteFile(filepath.Join(d.path, "f.new"), []byte("ne"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := d.Read("f"); string(got) != "old" {
		t.Errorf("got %q", got)
	}
	if err := d.Write("f", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, _ := d.Read("f"); string(got) != "new" {
		t.Errorf("got %q", got)
	}
	if got, err := d.Read("absent"); got != nil || err != nil {
		t.Errorf("absent: %q, %v", got, err)
	}
}
