package gossip

import (
	"context"
	"time"

	"github.com/hashicorp/serf/serf"
)

// handler takes Serf's events. Serf calls it with locks held and blocks when it
// does, so it only enqueues.
type handler Mesh

// HandleEvent implements agent.EventHandler.
func (h *handler) HandleEvent(e serf.Event) {
	select {
	case h.events <- e:
	default:
		h.stats.dropped.Add(1)
	}
}

// listen takes the events one by one until ctx ends. After a burst of them the
// members are looked at once, and every second, for Serf tells nobody that it
// holds a member for leaving or no longer does.
func (m *Mesh) listen(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s := m.session.Load(); s != nil {
				m.look(s)
			}
		case e := <-m.events:
			burst := []serf.Event{e}
			for range len(m.events) {
				burst = append(burst, <-m.events)
			}
			if s := m.session.Load(); s != nil {
				m.look(s)
			}
			for _, e := range burst {
				m.handle(e)
			}
		}
	}
}

func (m *Mesh) handle(e serf.Event) {
	switch e := e.(type) {
	case serf.MemberEvent:
		for _, sm := range e.Members {
			m.changed(sm, changeOf(e.Type))
		}
	case *serf.Query:
		answer, ok := m.cfg.Queries[e.Name]
		if !ok {
			return
		}
		if err := e.Respond(answer(e.Payload)); err != nil {
			m.log.Warn().Err(err).Str("query", e.Name).Msg("query not answered")
		}
	}
}

func changeOf(t serf.EventType) Change {
	switch t {
	case serf.EventMemberJoin:
		return Joined
	case serf.EventMemberFailed:
		return Failed
	case serf.EventMemberLeave:
		return Left
	case serf.EventMemberReap:
		return Forgotten
	default:
		return Updated
	}
}

func (m *Mesh) changed(sm serf.Member, change Change) {
	member, known := m.view.Load().byName[sm.Name]
	if !known {
		member = Member{Name: sm.Name, Region: regionOf(sm), Node: sm.Tags[tagRole] == role}
	}
	if member.Self {
		return
	}
	m.log.Info().Str("member", member.Name).Str("member_region", member.Region).Str("address", member.Addr).Msg("member " + string(change))
	if m.cfg.OnChange != nil {
		m.cfg.OnChange(member, change)
	}
}
