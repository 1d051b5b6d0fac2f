package gossip

// HoldForLeaving has this node believe that a living member is leaving.
func (m *Mesh) HoldForLeaving(name string) error {
	return m.session.Load().serf().RemoveFailedNode(name)
}
