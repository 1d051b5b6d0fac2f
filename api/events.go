package api

import (
	"context"
	"encoding/json"
	"net/url"
	"time"
)

// Events is what nodes logged lately, but for requests: GET /v1/events.
type Events struct {
	Events     []Event      `json:"events"` // the newest first
	Unanswered []Unanswered `json:"unanswered"`
}

// Event is one line of a node's log.
type Event struct {
	Time    time.Time                  `json:"time"` // by the node's clock
	Node    string                     `json:"node"`
	Region  string                     `json:"region"`
	Level   string                     `json:"level"` // info, warn or error
	Message string                     `json:"message"`
	Fields  map[string]json.RawMessage `json:"fields"` // what else the line says
}

// Events returns what the node logged lately or, for the whole mesh, all did.
func (c *Client) Events(ctx context.Context, mesh bool) (Events, error) {
	query := url.Values{}
	if mesh {
		query.Set("mesh", "1")
	}
	return get[Events](ctx, c, "/v1/events", query)
}
