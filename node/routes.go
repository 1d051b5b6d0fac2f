package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/node/config"
	"github.com/meshgw/meshgw/node/datadir"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
)

// routes is the replicated table of this node with its place on disk. What an
// apply was answered for is there before it is answered; what came by gossip is
// there a moment later, for others hold it too.
type routes struct {
	store heedfulStore
	node  string
	world World
	dir   *datadir.Dir
	log   zerolog.Logger
	file  *routeFile

	saving  sync.Mutex // held from making a snapshot to having it on disk, so that none overwrites a newer
	serving sync.Mutex // held while a table is taken into service
	serves  atomic.Pointer[served]

	// lacks returns what tells of a rule what it needs and cannot have now; unheard
	// warns of listeners that there are not. Both are set before anybody asks.
	lacks   func() func(*routetable.Rule) []string
	unheard func([]routetable.Route) routetable.Problems

	// committed is called after an edit made here, and published, by one goroutine
	// at a time, when another table is served. Like store.onRefusal they are set
	// before anybody can change the table.
	committed, published func()

	known         map[conflict]bool // of follow alone
	conflictsSeen atomic.Uint64
}

// served is the table in service, since when, and what of it is held back.
type served struct {
	table *routetable.Table
	since time.Time
	held  []replica.Held
}

// openRoutes restores the table from disk. Where none is sound, the mesh or the
// route file may bring it back.
func openRoutes(cfg config.Config, world World, dir *datadir.Dir, log zerolog.Logger) (*routes, error) {
	r := &routes{store: heedfulStore{Store: replica.NewStore(cfg.Node.Name)}, node: cfg.Node.Name, world: world, dir: dir, log: log}
	r.committed = func() {}                                                 // until there is a mesh to tell
	r.unheard = func([]routetable.Route) routetable.Problems { return nil } // or to ask
	if err := r.restore(); err != nil {
		return nil, fmt.Errorf("read table: %w", err)
	}
	r.serve()
	var err error
	r.file, err = openRouteFile(cfg, r)
	return r, err
}

func (r *routes) table() *routetable.Table { return r.serves.Load().table }

func (r *routes) appliedAt() time.Time { return r.serves.Load().since }

// serve takes the store's table into service, if it is another.
func (r *routes) serve() {
	r.serving.Lock()
	defer r.serving.Unlock()
	table, old := r.store.Table(), r.serves.Load()
	if old != nil && old.table == table {
		return
	}
	r.serves.Store(&served{table: table, since: r.world.now().UTC(), held: heldOf(r.store.Store, table)})
	if old == nil || r.published == nil {
		return // not up yet
	}
	r.published()
	r.log.Info().Uint64("routes_version", table.Version()).Str("by", table.Stamp().Node).Str("digest", table.Digest()).
		Int("routes", len(table.Rules())).Msg("version applied")
}

const (
	saveSoon  = time.Second     // a burst of gossip makes one snapshot, when the table is in service everywhere
	saveAgain = 5 * time.Second // when the disk would not
)

// follow takes every change of the store into service and to disk until ctx
// ends. mesh tells of others.
func (r *routes) follow(ctx context.Context, mesh meshView) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.file.watch(ctx, mesh) })
	wg.Go(func() { r.keepSaved(ctx) })
	for {
		changed := r.store.Changed()
		r.serve()
		r.setLostAside()
		r.noteConflicts()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// keepSaved writes every change of the store to disk until ctx ends. Nothing waits
// for it: a slow disk delays no table.
func (r *routes) keepSaved(ctx context.Context) {
	changed := r.store.Changed()
	save := time.After(saveSoon) // what changed before this began
	for {
		select {
		case <-changed:
			changed = r.store.Changed() // before the snapshot, so that none slips between
			if save == nil {
				save = time.After(saveSoon)
			}
		case <-save:
			save = nil
			if err := r.save(); err != nil {
				r.log.Error().Err(err).Msg("table not saved, will try again")
				save = time.After(saveAgain)
			}
		case <-ctx.Done():
			if err := r.save(); err != nil {
				r.log.Error().Err(err).Msg("table not saved")
			}
			return
		}
	}
}

func (r *routes) save() error {
	r.saving.Lock()
	defer r.saving.Unlock()
	return r.dir.WriteKeeping(tableFile, r.store.Snapshot())
}

// setLostAside keeps objects that a merge dropped because they were deleted so
// long ago elsewhere that nobody remembers: the operator may want them back.
func (r *routes) setLostAside() {
	lost := r.store.TakeLost()
	if len(lost) == 0 {
		return
	}
	name := fmt.Sprintf("lost-%d.json", r.world.now().UnixMilli())
	data, err := json.MarshalIndent(lost, "", "  ")
	if err == nil {
		err = r.dir.Write(name, data)
	}
	r.log.Error().Err(err).Int("objects", len(lost)).Str("kept_as", name).Msg("objects deleted elsewhere long ago were dropped")
}

// change prepares an edit, saves it, and only then commits it. It begins again if a
// merge came between.
func (r *routes) change(prepare func() (*replica.Pending, error), dryRun bool) (*replica.Pending, error) {
	r.saving.Lock()
	defer r.saving.Unlock()
	for {
		p, err := prepare()
		if err != nil || dryRun || p.NoChange() {
			return p, err
		}
		if err := r.dir.WriteKeeping(tableFile, p.Snapshot()); err != nil {
			return nil, api.NewProblem(http.StatusInsufficientStorage, "nothing was changed: the table could not be written to disk: %v", err)
		}
		switch err := r.store.Commit(p); {
		case err == nil:
			r.committed()
			r.serve() // who is answered can rely on it here
			return p, nil
		case !errors.Is(err, replica.ErrStale):
			return nil, errors.Join(err, r.dir.WriteKeeping(tableFile, r.store.Snapshot()))
		}
		// What is on disk now was never in service; the next round, or this,
		// replaces it.
		if err := r.dir.WriteKeeping(tableFile, r.store.Snapshot()); err != nil {
			return nil, api.NewProblem(http.StatusInsufficientStorage, "nothing was changed: the table could not be written to disk: %v", err)
		}
	}
}

// conflicts counts the edits that lost against a concurrent one and that nobody
// has settled by a later edit.
func (r *routes) conflicts() (open int) {
	for _, c := range r.store.Conflicts() {
		if !c.Resolved {
			open++
		}
	}
	return open
}

// noteConflicts logs and counts conflicts that were not there before.
func (r *routes) noteConflicts() {
	now := map[conflict]bool{}
	for _, c := range r.store.Conflicts() {
		id := conflict{c.Kind, c.Name, c.Loser}
		now[id] = true
		if r.known[id] {
			continue
		}
		r.conflictsSeen.Add(1)
		r.log.Warn().Str("object", c.Kind+"/"+c.Name).Stringer("winner", c.Winner).Stringer("loser", c.Loser).
			Str("reason", "two edits replaced the same one; the loser is kept in the history").Msg("conflict")
	}
	r.known = now
}

// conflict names the edit of an object that lost.
type conflict struct {
	kind, name string
	loser      crdt.Stamp
}

// pending is what is held here and cannot be served, with the reasons.
func (r *routes) pending() []api.Pending {
	all := []api.Pending{}
	for _, h := range r.held() {
		all = append(all, pendingOf(h.Object, h.Reason))
	}
	lacks := r.lacks()
	for _, rule := range r.table().Rules() {
		for _, reason := range lacks(rule) {
			all = append(all, api.Pending{Kind: "route", Name: rule.Name, Reason: reason})
		}
	}
	if err := r.file.trouble(); err != nil {
		all = append(all, api.Pending{Kind: "file", Name: r.file.path, Reason: err.Error()})
	}
	return all
}
