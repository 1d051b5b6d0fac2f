package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/ban"
	"github.com/meshgw/meshgw/node/datadir"
)

const bansFile = "bans.snapshot"

// bans is who is banned for a while, as all nodes hold it: on disk, by gossip,
// and compiled for the data plane. It is a gossip.State. Time is that of the
// machine, whatever the node takes the wall clock to be: it only runs.
type bans struct {
	list  *ban.List
	dir   *datadir.Dir
	log   zerolog.Logger
	moved chan struct{} // somebody else's word changed the list
	fresh chan struct{} // it is to be saved

	set    atomic.Pointer[ban.Set] // never nil
	active atomic.Int64            // how many hold

	// Held from reading the list until it is published, or on disk, so that an
	// older one never replaces a newer.
	enforcing, saving sync.Mutex
}

// openBans restores the bans from disk. A damaged file is set aside.
func openBans(dir *datadir.Dir, log zerolog.Logger) (*bans, error) {
	b := &bans{list: ban.NewList(), dir: dir, log: log, moved: make(chan struct{}, 1), fresh: make(chan struct{}, 1)}
	data, err := dir.Read(bansFile)
	if err != nil {
		return nil, fmt.Errorf("read bans: %w", err)
	}
	if data != nil {
		if err := b.list.Restore(time.Now(), data); err != nil {
			dir.SetAside(bansFile, err)
		}
	}
	b.enforce()
	return b, nil
}

// contains reports whether a client is banned now. Every request asks.
func (b *bans) contains(ip netip.Addr) bool { return b.set.Load().Contains(ip) }

// enforce publishes the list to the data plane.
func (b *bans) enforce() (next time.Time) {
	b.enforcing.Lock()
	defer b.enforcing.Unlock()
	now := time.Now()
	next = b.list.Expire(now)
	b.set.Store(b.list.Set(now))
	b.active.Store(int64(len(b.list.All(now))))
	return next
}

// run follows the list until ctx ends. What ends by itself is told with the lazy
// rounds: every node counts, and knows.
func (b *bans) run(ctx context.Context) {
	var saving sync.WaitGroup
	defer saving.Wait()
	saving.Go(func() { b.keepSaved(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.moved:
		case <-timer.C:
		}
		before := b.active.Load()
		next := b.enforce()
		if after := b.active.Load(); after != before {
			b.log.Info().Int64("bans", after).Msg("bans in force")
		}
		signal(b.fresh)
		timer.Reset(b.until(next))
	}
}

// keepSaved writes changes of the list to disk until ctx ends, and then once more. A
// slow disk delays no ban.
func (b *bans) keepSaved(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-b.fresh:
		}
		b.save()
	}
}

// until is how long nothing happens by itself. Time that stands on disk wants to
// be renewed now and then.
func (b *bans) until(next time.Time) time.Duration {
	pause := time.Minute
	if !next.IsZero() {
		pause = min(pause, max(0, time.Until(next)))
	}
	return pause
}

func (b *bans) save() {
	b.saving.Lock()
	defer b.saving.Unlock()
	if err := b.dir.Write(bansFile, b.list.Snapshot(time.Now())); err != nil {
		b.log.Error().Err(err).Msg("bans not saved")
	}
}

// Digest implements gossip.State.
func (b *bans) Digest() []byte { return b.list.Digest() }

// Delta implements gossip.State.
func (b *bans) Delta(digest []byte) ([]byte, error) { return b.list.Delta(time.Now(), digest) }

// Changes implements gossip.State.
func (b *bans) Changes(limit int) (data []byte, oversized bool) {
	return b.list.Changes(time.Now(), limit)
}

// Merge implements gossip.State.
func (b *bans) Merge(data []byte) error {
	err := b.list.Merge(time.Now(), data)
	if err == nil {
		signal(b.moved)
	}
	return err
}

// The methods that follow are admin.Bans.

// Bans returns who is banned now.
func (n *Node) Bans() []api.Ban {
	all := []api.Ban{}
	for _, b := range n.bans.list.All(time.Now()) {
		all = append(all, banOf(b))
	}
	return all
}

// Ban bans a network for a while, at every node.
func (n *Node) Ban(ask api.BanRequest, by string) (api.Ban, error) {
	p, err := ban.ParsePrefix(ask.CIDR)
	if err != nil {
		return api.Ban{}, api.NewProblem(http.StatusUnprocessableEntity, "cidr: %v", err)
	}
	d, err := time.ParseDuration(ask.For)
	if err != nil {
		return api.Ban{}, api.NewProblem(http.StatusUnprocessableEntity, "for: %v", err)
	}
	now := time.Now()
	b := ban.Ban{Prefix: p, For: d, Left: d, Reason: ask.Reason, By: by, Node: n.cfg.Node.Name, At: n.world.now().UTC()}
	switch err := n.bans.list.Put(now, b); {
	case errors.Is(err, ban.ErrFull):
		return api.Ban{}, api.NewProblem(http.StatusConflict, "%v: %d; keep networks out for good by access.deny of the route file", err, ban.MaxBans)
	case err != nil:
		return api.Ban{}, api.NewProblem(http.StatusUnprocessableEntity, "%v", err)
	}
	n.spreadBans()
	n.log.Info().Stringer("cidr", p).Dur("for_ms", d).Str("reason", ask.Reason).Str("by", by).Msg("banned")
	return banOf(b), nil
}

// Unban lifts a ban before its time.
func (n *Node) Unban(cidr, by string) (api.Ban, error) {
	p, err := ban.ParsePrefix(cidr)
	if err != nil {
		return api.Ban{}, api.NewProblem(http.StatusUnprocessableEntity, "cidr: %v", err)
	}
	b, ok := n.bans.list.Remove(time.Now(), p)
	if !ok {
		return api.Ban{}, api.NewProblem(http.StatusNotFound, "no ban of %s at this node", p)
	}
	n.spreadBans()
	n.log.Info().Stringer("cidr", p).Str("by", by).Msg("ban lifted")
	return banOf(b), nil
}

// spreadBans publishes the list here, sends it to others, and saves it.
func (n *Node) spreadBans() {
	n.bans.enforce()
	n.mesh.Push(bansState)
	n.bans.save()
}

func banOf(b ban.Ban) api.Ban {
	return api.Ban{
		CIDR: b.Prefix.String(), ForMillis: b.For.Milliseconds(), LeftMillis: b.Left.Milliseconds(),
		Reason: b.Reason, By: b.By, Node: b.Node, At: b.At,
	}
}
