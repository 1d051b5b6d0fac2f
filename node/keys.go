package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/gossip"
)

// keysService answers other nodes with which gossip keys this one has: a list of
// gossip.HeldKey out.
const keysService = "keys"

const (
	sealedFile = "sealed.json"
	saveSealed = time.Minute // what a crash may forget
)

func (n *Node) serveKeys([]byte) ([]byte, error) { return json.Marshal(n.mesh.Keys()) }

// GossipKeys implements admin.Keys.
func (n *Node) GossipKeys(ctx context.Context) (api.GossipKeys, error) {
	all := api.GossipKeys{Keys: []api.GossipKey{}, Unanswered: []api.Unanswered{}, Failed: []string{}}
	if n.mesh.Keys() == nil {
		return all, keyProblem(gossip.ErrNoKeyring)
	}
	for _, m := range n.mesh.Members() {
		if m.Status == api.MemberFailed {
			all.Failed = append(all.Failed, m.Name)
		}
	}
	for _, a := range n.askAll(ctx, keysService, nil) {
		var held []gossip.HeldKey
		if a.err == nil {
			a.err = json.Unmarshal(a.data, &held)
		}
		if a.err != nil && !slices.Contains(all.Failed, a.node) {
			all.Unanswered = append(all.Unanswered, api.Unanswered{Node: a.node, Reason: a.err.Error()})
		}
		for _, k := range held {
			noteKey(&all, a.node, k)
		}
	}
	slices.SortFunc(all.Keys, func(a, b api.GossipKey) int {
		return cmp.Or(cmp.Compare(len(b.Primary), len(a.Primary)), cmp.Compare(len(b.Nodes), len(a.Nodes)), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return all, nil
}

func noteKey(all *api.GossipKeys, node string, k gossip.HeldKey) {
	i := slices.IndexFunc(all.Keys, func(have api.GossipKey) bool { return have.Fingerprint == k.Fingerprint })
	if i < 0 {
		i = len(all.Keys)
		all.Keys = append(all.Keys, api.GossipKey{Fingerprint: k.Fingerprint, Nodes: []string{}, Primary: []string{}})
	}
	key := &all.Keys[i]
	key.Nodes = append(key.Nodes, node)
	key.Sealed += k.Sealed
	if k.Primary {
		key.Primary = append(key.Primary, node)
	}
}

// InstallKey implements admin.Keys.
func (n *Node) InstallKey(_ context.Context, fingerprint, by string) (api.KeyChange, error) {
	return n.changeKey("installed", by, fingerprint, n.mesh.InstallKey)
}

// UseKey implements admin.Keys. Who lacks the key can read nobody any more, so it
// is refused as long as one does, or might come back without it.
func (n *Node) UseKey(ctx context.Context, fingerprint, by string) (api.KeyChange, error) {
	keys, err := n.GossipKeys(ctx)
	if err != nil {
		return api.KeyChange{}, err
	}
	if lack := keys.Late(fingerprint, func(k api.GossipKey) []string { return k.Nodes }); len(lack) > 0 {
		return api.KeyChange{}, api.NewProblem(http.StatusConflict, "not all have the key yet, install it first: %s", strings.Join(lack, ", "))
	}
	if p := nobodyAway(keys); p != nil {
		return api.KeyChange{}, p
	}
	return n.changeKey("in use", by, fingerprint, n.mesh.UseKey)
}

// RemoveKey implements admin.Keys. It is refused as long as anybody seals with the
// key, or might come back with it.
func (n *Node) RemoveKey(ctx context.Context, fingerprint, by string) (api.KeyChange, error) {
	keys, err := n.GossipKeys(ctx)
	if err != nil {
		return api.KeyChange{}, err
	}
	for _, k := range keys.Keys {
		if k.Fingerprint == fingerprint && len(k.Primary) > 0 {
			return api.KeyChange{}, api.NewProblem(http.StatusConflict, "these seal with the key, have another used first: %s", strings.Join(k.Primary, ", "))
		}
	}
	if p := nobodyAway(keys); p != nil {
		return api.KeyChange{}, p
	}
	return n.changeKey("removed", by, fingerprint, n.mesh.RemoveKey)
}

func (n *Node) changeKey(what, by, fingerprint string, do func(fingerprint string) (gossip.KeyAnswer, error)) (api.KeyChange, error) {
	a, err := do(fingerprint)
	if err != nil {
		return api.KeyChange{}, keyProblem(err)
	}
	n.log.Info().Str("key", a.Fingerprint).Str("by", by).Int("members", a.Members).Int("done", a.Done).Msg("gossip key " + what)
	return api.KeyChange(a), nil
}

// nobodyAway refuses what would shut out nodes that are out of reach.
func nobodyAway(keys api.GossipKeys) error {
	away := slices.Clone(keys.Failed)
	for _, u := range keys.Unanswered {
		away = append(away, u.Node)
	}
	if len(away) == 0 {
		return nil
	}
	return api.NewProblem(http.StatusConflict, "out of reach, and it would shut them out: %s; wait for them, or have them leave (serf force-leave NAME)", strings.Join(away, ", "))
}

func keyProblem(err error) error {
	switch {
	case errors.Is(err, gossip.ErrNoKeyring):
		return api.NewProblem(http.StatusConflict, "%v: start its nodes with --keyring", err)
	case errors.Is(err, gossip.ErrUnknownKey):
		return api.NewProblem(http.StatusNotFound, "%v", err)
	}
	return err
}

// rememberSealed keeps on disk how much was sealed with each key, until ctx ends.
func (n *Node) rememberSealed(ctx context.Context) {
	tick := time.NewTicker(saveSealed)
	defer tick.Stop()
	for {
		done := false
		select {
		case <-ctx.Done():
			done = true
		case <-tick.C:
		}
		if err := n.saveSealed(); err != nil {
			n.log.Warn().Err(err).Msg("counts of sealed packets not saved")
		}
		if done {
			return
		}
	}
}

func (n *Node) saveSealed() error {
	_, counts := n.gossipKeys()
	if len(counts) == 0 {
		return nil
	}
	if err := n.dir.WriteJSON(sealedFile, counts); err != nil {
		return fmt.Errorf("write %s: %w", sealedFile, err)
	}
	return nil
}
