package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/internal/files"
	"github.com/meshgw/meshgw/node/config"
	"github.com/meshgw/meshgw/node/datadir"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
	"github.com/meshgw/meshgw/routetable/routefile"
)

const sourceFile = "source.json"

// routeFile is a file on this node that is a source of the table, not a second
// truth: it is applied when its content is another than what was last applied
// from it, so that a restart never brings yesterday's file over today's edits.
type routeFile struct {
	path    string   // empty: there is none
	paths   []string // of what was read last: it and what it includes
	routes  *routes
	dir     *datadir.Dir
	log     zerolog.Logger
	seeded  bool // there is a mesh to ask for its table first
	soon    chan struct{}
	settled chan struct{} // closed once it is known whose table a newcomer serves
	settle  func()
	applied appliedSource

	mu  sync.Mutex // guards err
	err error
}

// appliedSource is what was last taken from the file, as kept on disk.
type appliedSource struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// openRouteFile takes the file at once where nothing speaks against it. A node
// with a table of its own, or with a mesh to join, starts without it if need be;
// a node that has nothing else to serve refuses a file that is no good.
func openRouteFile(cfg config.Config, r *routes) (*routeFile, error) {
	f := &routeFile{routes: r, dir: r.dir, log: r.log, seeded: len(cfg.Gossip.Join) > 0, soon: make(chan struct{}, 1), settled: make(chan struct{})}
	f.settle = sync.OnceFunc(func() {
		r.serve()
		close(f.settled)
	})
	if cfg.RoutesFile == "" {
		f.settle()
		return f, nil
	}
	path, err := filepath.Abs(cfg.RoutesFile)
	if err != nil {
		return nil, fmt.Errorf("route file: %w", err)
	}
	f.path = path
	f.applied, _ = datadir.ReadJSON[appliedSource](r.dir, sourceFile) // without it the file is applied again
	if f.newcomer() {
		return f, nil // the mesh is asked first, in watch
	}
	if err := f.take(); err != nil && r.table().Version() == 0 {
		return nil, fmt.Errorf("nothing to serve: %w", err)
	}
	f.settle()
	return f, nil
}

// newcomer reports whether this node has seeds and no table yet.
func (f *routeFile) newcomer() bool { return f.seeded && f.routes.table().Version() == 0 }

func (f *routeFile) trouble() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *routeFile) setTrouble(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && (f.err == nil || f.err.Error() != err.Error()) {
		f.log.Error().Err(err).Str("file", f.path).Msg("route file not applied, the table stays as it is")
	}
	f.err = err
}

// take applies the file if its content is another than what was last applied.
func (f *routeFile) take() error {
	sources, now, err := f.read()
	if err != nil {
		f.setTrouble(err)
		return err
	}
	if now == f.applied {
		f.setTrouble(nil)
		return nil
	}
	p, warnings, err := f.apply(sources, false)
	f.setTrouble(err)
	if err != nil {
		return err
	}
	if !p.NoChange() {
		f.log.Info().Str("file", f.path).Uint64("routes_version", p.Stamp().Version).Int("changes", len(p.Diff())).Msg("route file applied")
		if len(warnings) > 0 {
			f.log.Warn().Str("file", f.path).Int("warnings", len(warnings)).Str("reason", warnings[0].Error()).Msg("route file is worth a look: see meshgw routes validate")
		}
	}
	return f.remember(now)
}

// read reads the file and those that it includes.
func (f *routeFile) read() (sources []routefile.Source, content appliedSource, err error) {
	disk := routefile.Reading{Glob: filepath.Glob, Open: func(path string) (io.ReadCloser, error) { return files.Open(path) }}
	file, err := disk.File(f.path)
	if err != nil {
		return nil, content, fmt.Errorf("read route file: %w", err)
	}
	sources, err = disk.Include(os.LookupEnv, file)
	f.paths = f.paths[:0]
	sum := sha256.New()
	for i, s := range sources {
		f.paths = append(f.paths, s.Name)
		if i > 0 { // the sum of a file alone is that of its bytes
			sum.Write(fmt.Appendf(nil, "\x00%s\x00%d\x00", s.Name, len(s.Data)))
		}
		sum.Write(s.Data)
	}
	return sources, appliedSource{Path: f.path, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}

func (f *routeFile) apply(sources []routefile.Source, dryRun bool) (*replica.Pending, routetable.Problems, error) {
	return f.routes.prepare(sources, os.LookupEnv, replica.Edit{
		Source: f.path, Author: "file " + f.path, Message: "route file changed", At: f.routes.world.now(),
	}, dryRun)
}

func (f *routeFile) remember(now appliedSource) error {
	if err := f.dir.WriteJSON(sourceFile, now); err != nil {
		return fmt.Errorf("remember what was applied from the route file: %w", err)
	}
	f.applied = now
	return nil
}

const (
	// seedWord is how long a newcomer waits for the mesh's table before it takes
	// its file for the first.
	seedWord = 5 * time.Second
	// pollFile finds what notifications miss, on network file systems for one.
	pollFile = 5 * time.Second
	// settleFile lets an editor or a copy finish writing: so long nothing happens.
	settleFile = 100 * time.Millisecond
)

// watch follows the file, replaced symlinks too, until ctx ends.
func (f *routeFile) watch(ctx context.Context, mesh meshView) {
	defer f.settle()
	if f.path == "" {
		return
	}
	if f.newcomer() && !f.greetMesh(ctx, mesh) {
		return
	}
	w := watchFiles(f.log)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer w.close()
	wg.Go(w.run)
	for {
		w.follow(append(f.paths, f.path)...) // before the file is read, so that no change slips between
		_ = f.take()                         // its trouble is told there
		f.settle()
		select {
		case <-ctx.Done():
			return
		case <-f.soon:
		case <-w.changed:
			w.settle(ctx)
		case <-time.After(pollFile):
		}
	}
}

// meshView is what a newcomer asks of the mesh.
type meshView interface {
	// heardTable is closed once a peer's table has been compared with ours.
	heardTable() <-chan struct{}
	// isFirst reports whether this node's name is the first of the living.
	isFirst() bool
}

// greetMesh waits for the mesh's table. Where there is one, it wins, and a file that
// differs is only logged. Where a peer says that there is none, the first
// node by name takes its file, so that the same file on all that start together
// makes one version; the others do so in the end. It reports false when ctx
// ended first.
func (f *routeFile) greetMesh(ctx context.Context, mesh meshView) bool {
	deadline, heard := time.After(seedWord), mesh.heardTable()
	for f.routes.store.Table().Version() == 0 {
		changed := f.routes.store.Changed()
		select {
		case <-ctx.Done():
			return false
		case <-deadline:
			return true
		case <-heard:
			if heard = nil; f.routes.store.Table().Version() == 0 && mesh.isFirst() {
				return true
			}
		case <-changed:
		}
	}
	sources, now, err := f.read()
	if err != nil {
		return true // take reports it
	}
	if p, _, err := f.apply(sources, true); err == nil && !p.NoChange() {
		f.log.Warn().Str("file", f.path).Int("differences", len(p.Diff())).
			Msg("the mesh's table is served; this node's route file differs and is applied when it changes")
	}
	if err := f.remember(now); err != nil {
		f.log.Error().Err(err).Msg("route file")
	}
	return true
}

// readFileSoon makes the file be checked now.
func (r *routes) readFileSoon() {
	select {
	case r.file.soon <- struct{}{}:
	default:
	}
}
