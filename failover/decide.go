package failover

// Decision is what the nodes of a region together say of an endpoint.
type Decision struct {
	Peers  bool   // out: breakers of the region's nodes are open
	Checks bool   // out: its checks fail
	Reason string // for status; empty when neither
}
