package doctor

import (
	"time"

	"github.com/meshgw/meshgw/api"
)

// Facts is what one node tells of itself and of how it sees the others. Lists
// are bounded by who makes them.
type Facts struct {
	Node   string    `json:"node"`
	Region string    `json:"region"`
	Build  string    `json:"build"`
	Clock  time.Time `json:"clock"` // its wall clock, when it answered

	// Line 1.
	Routes api.RoutesStatus `json:"routes"`
	Drift  api.Drift        `json:"drift"` // of all nodes, as it sees them

	// Line 2.
	Upstreams []Upstream `json:"upstreams"`

	// Line 3.
	Members  []Member `json:"members"` // the others
	Isolated bool     `json:"isolated"`

	// Line 4.
	Uses     []Use `json:"uses"`
	Shedding bool  `json:"shedding"`

	// Line 5.
	Errors []Failure `json:"errors"` // of the last Recent

	// Line 6.
	Certificates []Certificate `json:"certificates"`
	Keys         []string      `json:"keys"`     // fingerprints of the gossip keys, the primary first; empty = in clear
	OpenRPC      bool          `json:"open_rpc"` // Serf's RPC asks for no key, and there are gossip keys to read by it

	Sealed map[string]uint64 `json:"sealed,omitempty"` // packets, by this node with each key, in all its life

	// Line 7.
	Traffic []Traffic `json:"traffic"`
}

// Recent is how far back errors are looked for.
const Recent = 5 * time.Minute

// Upstream is one that is not well at a node, or that has something to know of.
type Upstream struct {
	Name    string         `json:"name"`
	Total   map[string]int `json:"total"` // endpoints, by region
	Bad     []api.Endpoint `json:"bad"`   // that get no requests
	Refused float64        `json:"refused"`
	Alone   string         `json:"alone,omitempty"` // why it cannot fail over
}

// Member is how a node sees another one.
type Member struct {
	Name    string    `json:"name"`
	Region  string    `json:"region"`
	Host    string    `json:"host"` // of its address
	Status  string    `json:"status"`
	Since   time.Time `json:"since,omitzero"` // that it has failed
	Reached bool      `json:"reached"`        // a packet was answered; of living ones
	Heard   float64   `json:"heard"`          // seconds since a packet of its came in; negative = unknown
}

// The resources of a Use.
const (
	CPU             = "cpu"    // share of what the process may use
	Memory          = "memory" // bytes of the process's cgroup
	Heap            = "heap"   // bytes under GOMEMLIMIT
	Descriptors     = "file_descriptors"
	Connections     = "connections" // of clients
	Requests        = "requests"    // in flight
	UpstreamPending = "pending"     // requests waiting for a connection to the upstream Of
	UpstreamBusy    = "in_flight"   // requests at the endpoint Of, against max_connections
)

// Use is how much of a limit is used up.
type Use struct {
	What  string  `json:"what"`
	Of    string  `json:"of,omitempty"`
	Used  float64 `json:"used"`
	Limit float64 `json:"limit"`
}

// Failure is requests that failed alike, lately.
type Failure struct {
	Route     string    `json:"route"`
	Upstream  string    `json:"upstream"`
	Error     string    `json:"error"` // as in x-meshgw-error, else the status
	Count     int       `json:"count"`
	Last      time.Time `json:"last"`
	RequestID string    `json:"request_id"` // of the last of them
}

// The uses of certificates that belong to an upstream, each with its name behind.
const (
	OfUpstream  = "upstream "        // what its endpoints show
	ForUpstream = "upstream client " // what they are shown
)

// Certificate is one that a node shows, is shown, or believes in.
type Certificate struct {
	Use         string    `json:"use"` // https, mesh, mesh_ca, or of an upstream
	Names       string    `json:"names"`
	Fingerprint string    `json:"fingerprint"`
	From        time.Time `json:"from"`
	Until       time.Time `json:"until"`
}

// Traffic is that of a route at a node, set against its own past.
type Traffic struct {
	Route       string        `json:"route"`
	Age         time.Duration `json:"age"` // of the past that is known
	Rate        float64       `json:"rate"`
	UsualRate   float64       `json:"usual_rate"`
	Errors      float64       `json:"errors"` // share of requests
	UsualErrors float64       `json:"usual_errors"`
}
