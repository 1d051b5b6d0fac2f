package api

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"time"
)

// RequestTrace is what nodes saw of one request: GET /v1/requests/{id}.
type RequestTrace struct {
	RequestID  string        `json:"request_id"`
	Seen       []RequestSeen `json:"seen"`       // where it came in first, then where it was sent on to, as it was tried
	Unanswered []Unanswered  `json:"unanswered"` // nodes that were asked in vain
}

// RequestSeen is what one node saw and decided of a request.
type RequestSeen struct {
	Node          string           `json:"node"`
	Region        string           `json:"region"`
	Time          time.Time        `json:"time"` // by the node's clock
	TraceID       string           `json:"trace_id"`
	ClientIP      string           `json:"client_ip"`
	Protocol      string           `json:"protocol"`
	Listener      string           `json:"listener"`
	Method        string           `json:"method"`
	Host          string           `json:"host"`
	Path          string           `json:"path"`          // without the query
	Via           string           `json:"via,omitempty"` // the node that sent it on to this one; empty where it came from a client
	ViaRegion     string           `json:"via_region,omitempty"`
	Route         string           `json:"route,omitempty"`
	RoutesVersion uint64           `json:"routes_version"`
	Tenant        string           `json:"tenant,omitempty"`
	Priority      string           `json:"priority"`
	Limit         string           `json:"limit,omitempty"` // that refused it
	Upstream      string           `json:"upstream,omitempty"`
	Attempts      []RequestAttempt `json:"attempts"`
	Status        int              `json:"status"` // 0 = no answer was begun
	Error         string           `json:"error,omitempty"`
	Detail        string           `json:"detail,omitempty"`
	GRPCStatus    string           `json:"grpc_status,omitempty"` // of a gRPC call, such as UNAVAILABLE
	BytesIn       int64            `json:"bytes_in"`
	BytesOut      int64            `json:"bytes_out"`
	DurationMS    float64          `json:"duration_ms"`
}

// RequestAttempt is one try of a request.
type RequestAttempt struct {
	Endpoint   string  `json:"endpoint"` // URL; mesh://NODE is a gateway of another region
	Region     string  `json:"region"`
	Outcome    string  `json:"outcome"`          // ok, connect_failure, reset, timeout, unavailable, stalled, canceled, pending_full
	Status     int     `json:"status,omitempty"` // of its answer
	AfterMS    float64 `json:"after_ms"`         // from the request's beginning
	DurationMS float64 `json:"duration_ms"`
}

// Request returns what the node saw of a request or, for the whole mesh, what
// all nodes did. A *Problem of status 404 means that all were asked and none
// remembers it.
func (c *Client) Request(ctx context.Context, id string, mesh bool) (RequestTrace, error) {
	query := url.Values{}
	if mesh {
		query.Set("mesh", "1")
	}
	return get[RequestTrace](ctx, c, "/v1/requests/"+url.PathEscape(id), query)
}

// gateway is the scheme of an endpoint that is a node of another region.
const gateway = "mesh://"

// Sort puts what was seen in the order of the request's way, which clocks of
// different machines do not tell: a node that took it from a client, then those
// that it was sent on to, as they were tried.
func (t *RequestTrace) Sort() {
	slices.SortStableFunc(t.Seen, func(a, b RequestSeen) int { return a.Time.Compare(b.Time) })
	rank := map[string]int{} // of a node that was sent a request, by it and the sender
	for i, s := range t.Seen {
		if s.Via != "" {
			continue
		}
		rank[s.Node] = (i + 1) << 8
		for j, a := range s.Attempts {
			rank[s.Node+gateway+a.Endpoint] = (i+1)<<8 + j + 1
		}
	}
	place := func(s RequestSeen) int {
		if s.Via == "" {
			return rank[s.Node]
		}
		return cmp.Or(rank[s.Via+gateway+gateway+s.Node], 1<<30) // unknown ones last
	}
	slices.SortStableFunc(t.Seen, func(a, b RequestSeen) int { return place(a) - place(b) })
}
