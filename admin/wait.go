package admin

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/meshgw/meshgw/api"
)

// waitStep is how often a wait looks: the news of one apply reach a mesh within
// about ten of it.
const waitStep = 20 * time.Millisecond

func checkWait(what string) error {
	if n, err := strconv.Atoi(what); what != "all" && what != "region" && what != "" && (err != nil || n < 1) {
		return errors.New("want all, region or a number of nodes")
	}
	return nil
}

// wait looks at status until as many live members as what asks for hold version
// or a newer one, or until ctx is done.
func wait(ctx context.Context, status func() api.Status, what string, version uint64) api.Wait {
	tick := time.NewTicker(waitStep)
	defer tick.Stop()
	for {
		if w := held(status(), what, version); w.Done() || ctx.Err() != nil {
			return w
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// held counts who holds version. Members that are not alive are not waited for.
func held(s api.Status, what string, version uint64) api.Wait {
	w := api.Wait{Late: []api.DriftNode{}}
	for _, m := range s.Members {
		if m.Status != api.MemberAlive || what == "region" && m.Region != s.Node.Region {
			continue
		}
		w.Wanted++
		if m.RoutesVersion >= version {
			w.Held++
		} else {
			w.Late = append(w.Late, late(s, m, version))
		}
	}
	if n, err := strconv.Atoi(what); err == nil {
		w.Wanted = n
	}
	return w
}

// late says why a member is late, where the node knows it.
func late(s api.Status, m api.Member, version uint64) api.DriftNode {
	for _, d := range s.Drift.Nodes {
		if d.Name == m.Name {
			return d
		}
	}
	return api.DriftNode{Name: m.Name, RoutesVersion: m.RoutesVersion, RoutesDigest: m.RoutesDigest, VersionsBehind: version - m.RoutesVersion}
}
