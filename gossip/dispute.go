package gossip

import (
	"context"
	"maps"
	"time"
)

// A dispute is over a member that is alive at one address to us and at another
// to a peer.
type dispute struct{ name, ours, theirs string }

const (
	// disputePatience is how long a dispute may last: most end by themselves
	// when the news of a death arrives.
	disputePatience = 3 * time.Second
	// disputeForgotten is after how long the same dispute is a new one.
	disputeForgotten = time.Minute
)

// contest notes a dispute. It is called by memberlist and must not wait.
func (m *Mesh) contest(d dispute) {
	select {
	case m.disputes <- d:
	default: // one at a time is enough: it comes again with the next exchange
	}
}

// concede ends disputes in which we are wrong, until ctx ends. Who was cut off
// while a member died and came back elsewhere is the only one to suspect the old
// address, and memberlist takes no new one before that suspicion has run its
// full course, which nobody confirms. So when the old address is silent and the
// member answers at the new one, Serf is started again: it knows nobody then,
// and learns from its peers where all are.
func (m *Mesh) concede(ctx context.Context) {
	since := map[dispute]time.Time{}
	for {
		var d dispute
		select {
		case <-ctx.Done():
			return
		case d = <-m.disputes:
		}
		now := time.Now()
		maps.DeleteFunc(since, func(_ dispute, first time.Time) bool { return now.Sub(first) > disputeForgotten })
		first, known := since[d]
		if !known {
			since[d] = now
		}
		s := m.session.Load()
		if !known || now.Sub(first) < disputePatience || s == nil || !m.hasMoved(ctx, d) {
			continue
		}
		delete(since, d)
		m.log.Warn().Str("member", d.name).Str("address", d.theirs).Str("was", d.ours).
			Msg("a member moved unseen; starting serf again to find it")
		if err := s.agent.Shutdown(); err != nil {
			m.log.Error().Err(err).Msg("shut serf down")
		}
	}
}

// hasMoved reports whether the member in dispute is where they say and not where
// we believe it to be.
func (m *Mesh) hasMoved(ctx context.Context, d dispute) bool {
	if d.name == m.cfg.Name || m.living(d.name) != d.ours {
		return false
	}
	there, err := m.askWho(ctx, d.theirs, "")
	if err != nil || there.name != d.name {
		return false
	}
	here, err := m.askWho(ctx, d.ours, "")
	return ctx.Err() == nil && (err != nil || here.name != d.name)
}
