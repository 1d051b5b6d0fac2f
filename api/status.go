package api

import "time"

// The states of a node, in Node.State.
const (
	StateStarting = "starting" // its listeners or its table are not ready yet
	StateServing  = "serving"
	StateShedding = "shedding" // refuses a share of the requests for want of CPU
	StateDraining = "draining" // out of rotation: told the mesh, finishes what is in flight
)

// The states of a member as Serf names them, in Member.Status.
const (
	MemberAlive   = "alive"
	MemberLeaving = "leaving"
	MemberLeft    = "left"
	MemberFailed  = "failed"
)

// Status is a node's whole state as it knows it itself: GET /v1/status.
type Status struct {
	Node      Node         `json:"node"`
	Listen    Listen       `json:"listen"`
	Members   []Member     `json:"members"`  // the node itself too, ordered by name
	Isolated  bool         `json:"isolated"` // sees less than half of the mesh it saw lately
	Routes    RoutesStatus `json:"routes"`
	Drift     Drift        `json:"drift"`
	Upstreams []Upstream   `json:"upstreams"`
	Limits    []Limit      `json:"limits"`
	Load      Load         `json:"load"`
}

// Node is what a node is.
type Node struct {
	Name      string    `json:"name"`
	Region    string    `json:"region"`
	Zone      string    `json:"zone"`
	Weight    int       `json:"weight"`  // relative capacity, 1..65535
	Version   string    `json:"version"` // of the program
	StartedAt time.Time `json:"started_at,omitzero"`
	State     string    `json:"state"` // one of the State constants
}

// Weight is the body of POST /v1/weight.
type Weight struct {
	Weight int `json:"weight"` // 1..65535
}

// Clock is what a node with --allow-chaos can be told of its wall clock.
type Clock struct {
	Offset string `json:"offset"` // such as 90m or -24h: how far it is ahead
}

// Listen holds the addresses a node really listens on, as host:port; empty for
// a listener that is closed. It is also the content of the ready file.
type Listen struct {
	HTTP   string `json:"http"`
	HTTPS  string `json:"https"`
	Mesh   string `json:"mesh"`
	Admin  string `json:"admin"`
	Gossip string `json:"gossip"`
	RPC    string `json:"rpc"`

	// More are the addresses of the listeners besides, by name; of this node only.
	More map[string]string `json:"more,omitempty"`
}

// Member is a node as another one sees it.
type Member struct {
	Name          string   `json:"name"`
	Address       string   `json:"address"` // of gossip, host:port
	Region        string   `json:"region"`
	Weight        int      `json:"weight"` // 0 while nothing is known of it
	Status        string   `json:"status"` // one of the Member constants
	RTTMillis     *float64 `json:"rtt_ms"` // estimated from network coordinates; null while unknown
	RoutesVersion uint64   `json:"routes_version"`
	RoutesDigest  string   `json:"routes_digest"`
	Load          Load     `json:"load"`
}

// Load is how busy a node is.
type Load struct {
	CPU      float64 `json:"cpu"`      // used share of what the node may use, 0..1
	Inflight int     `json:"inflight"` // requests being served now
	RPS      float64 `json:"rps"`      // requests per second, over the last seconds
	Shedding bool    `json:"shedding"`
}

// RoutesStatus is the table a node serves.
type RoutesStatus struct {
	Version   uint64    `json:"version"` // 0 for the empty table
	Digest    string    `json:"digest"`  // SHA-256 of the content, lower-case hex
	AppliedAt time.Time `json:"applied_at,omitzero"`
	Conflicts int       `json:"conflicts"` // edits that lost against a concurrent one
	Pending   []Pending `json:"pending"`   // objects held but not served
}

// Pending is an object of the table that a node holds and cannot serve.
type Pending struct {
	Kind   string `json:"kind"` // route, upstream, limit or tenant
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Drift is how far the tables of the mesh lie apart.
type Drift struct {
	MaxVersionsBehind uint64      `json:"max_versions_behind"`
	Nodes             []DriftNode `json:"nodes"` // those that do not hold the newest table
}

// DriftNode is a node whose table is not the newest known.
type DriftNode struct {
	Name           string    `json:"name"`
	RoutesVersion  uint64    `json:"routes_version"`
	RoutesDigest   string    `json:"routes_digest"`
	VersionsBehind uint64    `json:"versions_behind"` // 0 with another digest: a different table of the same version
	Reason         string    `json:"reason"`
	Since          time.Time `json:"since,omitzero"`
}

// Upstream is how an upstream's endpoints are as this node sees them.
type Upstream struct {
	Name      string     `json:"name"`
	Pending   int        `json:"pending"` // requests waiting for a connection
	Endpoints []Endpoint `json:"endpoints"`

	Regions []RegionShare `json:"regions"` // in the order of failover, the node's own first
	Refused float64       `json:"refused"` // share of the requests that no region has room for, 0..1

	// Alone is why the requests of its routes cannot fail over; empty where they
	// can, and where no route leads to it.
	Alone string `json:"alone,omitempty"`
}

// RegionShare is the part of a node's requests for an upstream that a region gets.
type RegionShare struct {
	Region string  `json:"region"`
	Share  float64 `json:"share"`          // 0..1
	Room   float64 `json:"room,omitempty"` // requests/s that its gateways can take from other regions, as they told; none of the node's own
}

// Endpoint is how one address of an upstream is.
type Endpoint struct {
	URL      string    `json:"url"`
	Region   string    `json:"region"`
	Weight   int       `json:"weight"`
	Healthy  bool      `json:"healthy"`          // gets requests
	State    string    `json:"state"`            // closed, stalled, ejected, unhealthy, half_open or open
	Since    time.Time `json:"since,omitzero"`   // of the state, unless it is closed
	Breaker  string    `json:"breaker"`          // closed, open or half_open
	Reason   string    `json:"reason,omitempty"` // why it is not healthy
	Inflight int       `json:"inflight"`         // requests of this node to it

	Verdicts []Verdict `json:"verdicts,omitempty"` // of each living node that has one
}

// Verdict is what a node says of an endpoint.
type Verdict struct {
	Node    string    `json:"node"`
	Check   string    `json:"check"`   // up, down, or unknown where it does not check
	Breaker string    `json:"breaker"` // closed or open
	Since   time.Time `json:"since"`   // by that node's clock
	Reason  string    `json:"reason,omitempty"`
}

// Limit is a limit that this node enforces.
type Limit struct {
	Name        string `json:"name"`
	Rate        string `json:"rate"` // as in the route file; empty where only requests at once are bounded
	Burst       int64  `json:"burst,omitzero"`
	Concurrency int    `json:"concurrency,omitzero"`
	Scope       string `json:"scope"`   // mesh or node
	Allowed     uint64 `json:"allowed"` // by this node since it started
	Refused     uint64 `json:"refused"`
}

// Mesh is what one node knows of every member by gossip: GET /v1/mesh.
type Mesh struct {
	Node     string     `json:"node"` // whose view this is
	Isolated bool       `json:"isolated"`
	Members  []MeshNode `json:"members"` // ordered by name
}

// MeshNode is what a member told of itself, and how it is seen.
type MeshNode struct {
	Node      Node          `json:"node"`
	Address   string        `json:"address"` // of gossip, host:port
	Status    string        `json:"status"`  // one of the Member constants
	RTTMillis *float64      `json:"rtt_ms"`  // null while unknown
	Listen    Listen        `json:"listen"`
	Routes    RoutesVersion `json:"routes"`
	Load      Load          `json:"load"`
}

// RoutesVersion names a table.
type RoutesVersion struct {
	Version uint64 `json:"version"`
	Digest  string `json:"digest"`
}
