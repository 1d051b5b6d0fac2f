package node

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/node/config"
	"github.com/meshgw/meshgw/node/datadir"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
)

// wrote has a route of that name applied by the node that lives in dir.
func wrote(t *testing.T, dir, route string) {
	t.Helper()
	var log bytes.Buffer
	r := livesIn(t, dir, &log)
	defer r.dir.Close()
	_, err := r.change(func() (*replica.Pending, error) {
		return r.store.Prepare(replica.Edit{Spec: &routetable.Spec{Routes: []routetable.Route{{Name: route, Respond: &routetable.Respond{Status: 200}}}}})
	}, false)
	if err != nil {
		t.Fatal(err)
	}
}

func livesIn(t *testing.T, dir string, log *bytes.Buffer) *routes {
	t.Helper()
	d, err := datadir.Open(dir, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	r, err := openRoutes(config.Config{Node: config.Identity{Name: "a"}}, World{}, d, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestADamagedSnapshotGivesWayToTheOneBeforeIt(t *testing.T) {
	dir := t.TempDir()
	wrote(t, dir, "one")
	wrote(t, dir, "two")
	path := filepath.Join(dir, tableFile)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path + datadir.Previous)
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string][]byte{"empty": {}}
	for range 40 {
		at := rand.IntN(len(sound))
		damage[fmt.Sprintf("cut at %d", at)] = sound[:at]
		flipped := slices.Clone(sound)
		flipped[at] ^= 1 << rand.IntN(8)
		damage[fmt.Sprintf("a bit of byte %d", at)] = flipped
	}
	for name, data := range damage {
		for file, content := range map[string][]byte{path: data, path + datadir.Previous: before} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var log bytes.Buffer
		r := livesIn(t, dir, &log)
		if v := r.table().Version(); v != 1 || !strings.Contains(log.String(), "set aside") || !strings.Contains(log.String(), "before the damaged one") {
			t.Errorf("%s: version %d, log %s", name, v, log.String())
		}
		if kept, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(kept, data) {
			t.Errorf("%s: kept %d bytes, %v", name, len(kept), err)
		}
		r.dir.Close()
	}
}

func TestANodeStartsEmptyWhereBothSnapshotsAreDamaged(t *testing.T) {
	dir := t.TempDir()
	wrote(t, dir, "one")
	wrote(t, dir, "two")
	for _, name := range []string{tableFile, tableFile + datadir.Previous} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("no snapshot"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	r := livesIn(t, dir, &log)
	defer r.dir.Close()
	if v := r.table().Version(); v != 0 || strings.Count(log.String(), "set aside") != 2 {
		t.Errorf("version %d, log %s", v, log.String())
	}
}
