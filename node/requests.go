package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/telemetry"
)

// requestService answers other nodes with what this one saw of a request: its id in, a
// list of api.RequestSeen out.
const requestService = "request"

const (
	longestID = 128 // bytes of a request id
	mostSeen  = 64  // records of one id: a client may use it again and again
)

// Request returns what this node saw of a request, or what all did.
func (n *Node) Request(ctx context.Context, id string, mesh bool) (api.RequestTrace, error) {
	trace := api.RequestTrace{RequestID: id, Seen: []api.RequestSeen{}, Unanswered: []api.Unanswered{}}
	if id == "" || len(id) > longestID {
		return trace, api.NewProblem(http.StatusBadRequest, "want a request id of 1 to %d characters", longestID)
	}
	if mesh {
		for _, a := range n.askAll(ctx, requestService, []byte(id)) {
			var seen []api.RequestSeen
			if a.err == nil {
				a.err = json.Unmarshal(a.data, &seen)
			}
			if a.err != nil {
				trace.Unanswered = append(trace.Unanswered, api.Unanswered{Node: a.node, Reason: a.err.Error()})
			}
			trace.Seen = append(trace.Seen, seen...)
		}
	} else {
		trace.Seen = append(trace.Seen, n.seen(id)...)
	}
	if len(trace.Seen) == 0 && len(trace.Unanswered) == 0 {
		if mesh {
			return trace, api.NewProblem(http.StatusNotFound, "no node remembers a request %q: there is none, or it is too long ago", id)
		}
		return trace, api.NewProblem(http.StatusNotFound, "this node remembers no request %q: ?mesh=1 asks all", id)
	}
	trace.Sort()
	return trace, nil
}

func (n *Node) serveRequest(request []byte) ([]byte, error) {
	if len(request) > longestID {
		return nil, fmt.Errorf("request id of %d bytes", len(request))
	}
	return json.Marshal(n.seen(string(request)))
}

// seen is what this node remembers of a request.
func (n *Node) seen(id string) []api.RequestSeen {
	all := []api.RequestSeen{}
	records := n.requests.Find(id)
	for i := range records[max(0, len(records)-mostSeen):] {
		all = append(all, n.seenOf(&records[i]))
	}
	return all
}

func (n *Node) seenOf(r *telemetry.Record) api.RequestSeen {
	s := api.RequestSeen{
		Node: n.cfg.Node.Name, Region: n.cfg.Node.Region, Time: r.Start, TraceID: string(r.TraceID), ClientIP: r.Client.String(),
		Protocol: r.Protocol, Listener: r.Listener, Method: string(r.Method), Host: string(r.Host), Path: string(r.Path),
		Via: string(r.FromNode), ViaRegion: string(r.FromRegion), Route: string(r.Route), RoutesVersion: r.Version,
		Tenant: r.Tenant, Priority: r.Priority, Limit: r.Limit, Upstream: r.Upstream, Attempts: []api.RequestAttempt{},
		Status: r.Status, Error: r.Error, Detail: r.Detail, GRPCStatus: r.GRPCStatus, BytesIn: r.In, BytesOut: r.Out, DurationMS: inMilliseconds(r.Took),
	}
	for _, a := range r.Attempts {
		s.Attempts = append(s.Attempts, api.RequestAttempt{
			Endpoint: a.Endpoint, Region: a.Region, Outcome: a.Outcome, Status: a.Status,
			AfterMS: inMilliseconds(a.After), DurationMS: inMilliseconds(a.Took),
		})
	}
	return s
}

func inMilliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
