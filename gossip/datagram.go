package gossip

import "github.com/hashicorp/memberlist"

// Datagram sends data to the named service of one live member, best effort: it
// may be lost, duplicated or reordered, and is not relayed. It is encrypted
// like all gossip, does not block, and does not keep data. Datagrams longer
// than MaxDatagram, or to members that are not alive, are dropped.
func (m *Mesh) Datagram(member, service string, data []byte) {
	addr := m.living(member)
	if addr == "" || len(data) > MaxDatagram {
		m.stats.datagramsUnsent.Add(1)
		return
	}
	m.send(memberlist.Address{Addr: addr, Name: member}, frame{service: service, data: data}.encode())
}

// MaxDatagram is the size limit of a Datagram in bytes, which with headers and
// encryption fits the packets of nearly every network.
const MaxDatagram = 1400

// deliver hands a datagram to its service.
func (m *Mesh) deliver(f frame) {
	take, ok := m.cfg.Datagrams[f.service]
	if !ok {
		m.stats.refused("frame", "unknown_service")
		return
	}
	if len(f.data) > MaxDatagram {
		m.stats.refused("frame", "too_big")
		return
	}
	take(f.data)
}
