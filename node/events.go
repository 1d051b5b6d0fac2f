package node

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/api"
)

// eventsService answers other nodes with what this one logged lately: a list of
// api.Event.
const eventsService = "events"

// mostEvents are told of one node, and shown of all together.
const mostEvents = 200

func (n *Node) serveEvents([]byte) ([]byte, error) { return json.Marshal(n.logged()) }

// Events returns what this node logged lately, or what all did.
func (n *Node) Events(ctx context.Context, mesh bool) api.Events {
	all := api.Events{Events: []api.Event{}, Unanswered: []api.Unanswered{}}
	if !mesh {
		all.Events = append(all.Events, n.logged()...)
	} else {
		for _, a := range n.askAll(ctx, eventsService, nil) {
			var events []api.Event
			if a.err == nil {
				a.err = json.Unmarshal(a.data, &events)
			}
			if a.err != nil {
				all.Unanswered = append(all.Unanswered, api.Unanswered{Node: a.node, Reason: a.err.Error()})
			}
			all.Events = append(all.Events, events...)
		}
	}
	slices.SortStableFunc(all.Events, func(a, b api.Event) int { return b.Time.Compare(a.Time) })
	all.Events = all.Events[:min(len(all.Events), mostEvents)]
	return all
}

func (n *Node) logged() []api.Event {
	if n.world.Lines == nil {
		return nil
	}
	var all []api.Event
	for _, line := range n.world.Lines.Last(mostEvents) {
		if e, ok := eventOf(line); ok {
			e.Node, e.Region = n.cfg.Node.Name, n.cfg.Node.Region
			all = append(all, e)
		}
	}
	return all
}

// eventOf reads a line as the log has it.
func eventOf(line []byte) (e api.Event, ok bool) {
	if err := json.Unmarshal(line, &e.Fields); err != nil {
		return e, false
	}
	var at time.Time
	for name, into := range map[string]any{zerolog.TimestampFieldName: &at, zerolog.LevelFieldName: &e.Level, zerolog.MessageFieldName: &e.Message} {
		if err := json.Unmarshal(e.Fields[name], into); err != nil {
			return e, false
		}
	}
	e.Time = at.UTC()
	for _, known := range []string{zerolog.TimestampFieldName, zerolog.LevelFieldName, zerolog.MessageFieldName, "node", "region"} {
		delete(e.Fields, known)
	}
	return e, true
}
