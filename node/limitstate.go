package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/node/datadir"
	"github.com/meshgw/meshgw/quota"
)

// limitState is what all nodes share of limits besides the datagrams: the secret
// that keys are hashed with, and what the homes of long quotas have charged. It
// is kept on disk and is a gossip.State.
type limitState struct {
	*crdt.Map
	secret  atomic.Pointer[quota.Secret] // never nil; one of this node's own until the mesh's is known
	changed chan struct{}                // there is something fresh
	dir     *datadir.Dir
	world   World
	saved   []byte // of save alone

	mu    sync.Mutex // guards the rest
	all   bool       // every record is to be learned
	keys  []string   // those are
	known chan struct{}
	found bool // known is closed
}

const (
	limitsFile   = "limits.snapshot"
	secretKey    = "secret"
	recordPrefix = "charged/"

	mostRecords = 20_000
	// recordMost is for how long a record of a limit that this node does not
	// know is kept for those who do.
	recordMost = 25 * time.Hour
	// foundAfter is how long a node waits for the secret of a mesh that does not
	// answer.
	foundAfter = 5 * time.Second
)

// openLimitState restores the state from disk. A damaged file is set aside.
func openLimitState(dir *datadir.Dir, world World, log zerolog.Logger) (*limitState, error) {
	s := newLimitState(dir, world)
	data, err := dir.Read(limitsFile)
	if err != nil {
		return nil, fmt.Errorf("read quotas: %w", err)
	}
	if err := s.Merge(data); err != nil {
		dir.SetAside(limitsFile, err)
		log.Warn().Msg("what was used of long quotas is learned from the mesh, if it knows")
	}
	return s, nil
}

func newLimitState(dir *datadir.Dir, world World) *limitState {
	s := &limitState{dir: dir, world: world, changed: make(chan struct{}, 1), known: make(chan struct{})}
	s.Map = crdt.NewMap(crdt.Bounds{Entries: mostRecords + 1, Graves: 1000, Key: 64, Value: 128}, checkLimitEntry)
	own := new(quota.Secret)
	_, _ = rand.Read(own[:]) // never fails, see crypto/rand
	s.secret.Store(own)
	return s
}

// checkLimitEntry refuses what another node cannot have meant.
func checkLimitEntry(key string, value []byte) error {
	if key == secretKey {
		if len(value) != len(quota.Secret{}) {
			return errors.New("not a secret")
		}
		return nil
	}
	var r quota.Record
	if err := r.UnmarshalBinary(value); err != nil {
		return err
	}
	if key != recordKey(&r) {
		return errors.New("record under a key that is not its own")
	}
	return nil
}

// recordKey is where a record stands: a home writes its own alone.
func recordKey(r *quota.Record) string {
	b := append([]byte(recordPrefix), hexKey(r.Key)...)
	b = strconv.AppendUint(append(b, '/'), uint64(r.Home), 16)
	return string(strconv.AppendUint(append(b, '/'), uint64(r.Incarnation), 10))
}

// Merge implements gossip.State.
func (s *limitState) Merge(data []byte) error {
	changed, err := s.Map.Merge(data)
	if err != nil || len(changed) == 0 {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range changed {
		if key == secretKey {
			s.useSecret()
		} else {
			s.keys = append(s.keys, key)
		}
	}
	signal(s.changed)
	return nil
}

// useSecret takes the mesh's secret into use, s.mu held.
func (s *limitState) useSecret() {
	value, ok := s.Get(secretKey)
	if !ok {
		return
	}
	s.secret.Store((*quota.Secret)(bytes.Clone(value)))
	if !s.found {
		s.found = true
		close(s.known)
	}
}

// await returns when the mesh has a secret, made by this node where the mesh has
// none and lets it, or when ctx ends.
func (s *limitState) await(ctx context.Context, mesh limitMesh) {
	began := time.Now()
	tick := time.NewTicker(membersEvery)
	defer tick.Stop()
	for !mesh.mayFound(time.Since(began)) {
		select {
		case <-ctx.Done():
			return
		case <-s.known:
			return
		case <-tick.C:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.found {
		s.Put(secretKey, 0, s.secret.Load()[:])
		s.useSecret()
		mesh.pushLimits()
		signal(s.changed)
	}
}

// wall is the wall clock: it refills what was charged before, and decides nothing
// else.
func (s *limitState) wall() time.Time { return s.world.now() }

// relearn makes every record fresh.
func (s *limitState) relearn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = true
}

// fresh yields the records that came since the last call.
func (s *limitState) fresh() iter.Seq[quota.Record] {
	s.mu.Lock()
	all, keys := s.all, s.keys
	s.all, s.keys = false, nil
	s.mu.Unlock()
	return func(yield func(quota.Record) bool) {
		if all {
			for r := range s.records() {
				if !yield(r) {
					return
				}
			}
			return
		}
		var r quota.Record
		for _, key := range keys {
			value, ok := s.Get(key)
			if ok && r.UnmarshalBinary(value) == nil && !yield(r) {
				return
			}
		}
	}
}

func (s *limitState) records() iter.Seq[quota.Record] {
	return func(yield func(quota.Record) bool) {
		var r quota.Record
		for key, value := range s.All() {
			if strings.HasPrefix(key, recordPrefix) && r.UnmarshalBinary(value) == nil && !yield(r) {
				return
			}
		}
	}
}

// tell writes the records of this node, as far as there is room.
func (s *limitState) tell(news []quota.Record) {
	room := mostRecords
	for range s.records() {
		room--
	}
	for i := range news {
		key := recordKey(&news[i])
		if s.Version(key) == 0 {
			if room <= 0 {
				continue // who is served here is counted here, and lost with this node only
			}
			room--
		}
		s.Put(key, 0, news[i].Append(nil))
	}
}

// prune forgets records that are not among those that still say something. They
// may be of a limit that only others know yet, so time must have passed.
func (s *limitState) prune(useful []quota.Record) {
	keep := make(map[string]bool, len(useful))
	for i := range useful {
		keep[recordKey(&useful[i])] = true
	}
	for r := range s.records() {
		if key := recordKey(&r); !keep[key] && s.wall().Sub(r.At) > recordMost {
			s.Forget(key)
		}
	}
}

// save has all on disk, if it is another than what is there. One at a time may
// call it.
func (s *limitState) save() error {
	data, err := s.Delta(nil)
	if err != nil || bytes.Equal(data, s.saved) {
		return err
	}
	if err := s.dir.Write(limitsFile, data); err != nil {
		return err
	}
	s.saved = data
	return nil
}
