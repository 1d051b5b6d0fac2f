package api

import (
	"context"
	"time"
)

// The lines of a Diagnosis, in their order, in Check.Name.
const (
	CheckRoutes       = "routes"
	CheckUpstreams    = "upstreams"
	CheckMembers      = "members"
	CheckLoad         = "load"
	CheckErrors       = "errors"
	CheckCertificates = "certificates"
	CheckTraffic      = "traffic"
)

// Diagnosis is what is wrong with the mesh: GET /v1/doctor.
type Diagnosis struct {
	Node       string       `json:"node"` // who asked the others
	Time       time.Time    `json:"time"`
	OK         bool         `json:"ok"`         // nothing was found
	Nodes      []string     `json:"nodes"`      // who answered, by name
	Checks     []Check      `json:"checks"`     // always the same seven, in the order of the Check constants
	Unanswered []Unanswered `json:"unanswered"` // nodes that were asked in vain
}

// Check is one line of a Diagnosis.
type Check struct {
	Name     string    `json:"name"`
	OK       bool      `json:"ok"`      // there are no findings
	Summary  string    `json:"summary"` // in a sentence
	Findings []Finding `json:"findings"`
	Notes    []Finding `json:"notes"` // worth knowing, and nothing wrong
}

// Finding is one thing that is wrong, or worth knowing.
type Finding struct {
	What      string    `json:"what"`
	Nodes     []string  `json:"nodes"` // that it is about, or that say so
	Since     time.Time `json:"since,omitzero"`
	RequestID string    `json:"request_id,omitempty"` // of a request that shows it
	Next      string    `json:"next"`                 // the command to run next
}

// Doctor has the node look for what is wrong in the whole mesh.
func (c *Client) Doctor(ctx context.Context) (Diagnosis, error) {
	return get[Diagnosis](ctx, c, "/v1/doctor", nil)
}
