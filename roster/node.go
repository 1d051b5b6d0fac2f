package roster

// Phase is the phase of a node's life.
type Phase string

// The phases of a node's life.
const (
	Starting Phase = "starting" // not ready: no table compiled yet, or listeners not up
	Serving  Phase = "serving"
	Shedding Phase = "shedding" // refusing a share of requests, overloaded
	Draining Phase = "draining" // finishing what is in flight
)

// Node is the report of one node about itself. Zero fields are absent.
type Node struct {
	ID          string // random, kept in the data dir: who a node is
	Name        string // what it is called, unique among living nodes
	Incarnation uint32 // counts the starts of ID
	Region      string
	Zone        string
	Weight      int // relative capacity, 1..65535
	Build       string
	StartedAt   int64 // ms since 1970 on the node's own clock; for display only
	Phase       Phase
	Listen      Listen
	Listeners   string // names of those for clients, by commas; empty = a version that does not tell
	Load        Load
	Routes      Routes
}

// Listen is where a node can be reached, each as host:port.
type Listen struct {
	HTTP, HTTPS, Mesh, Admin, Gossip, RPC string
}

// Load is the load of a node.
type Load struct {
	CPU               float64 // share of its allowance, 0..1
	Inflight          int     // requests
	RequestsPerSecond float64
	Descriptors       float64 // share of the file descriptors that it may have, 0..1; a node that has none left can tell by gossip alone
}

// Routes is the table that a node serves.
type Routes struct {
	Version   uint64
	Digest    string // lower-case hex SHA-256
	AppliedAt int64  // ms since 1970 on the node's own clock; for display only

	Held       int    // objects and changesets that it holds and cannot serve
	HeldReason string // of the first of them; short
	Refused    string // why it refused the last table that it was sent; empty once it took one
}
