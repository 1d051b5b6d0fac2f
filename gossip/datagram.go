package gossip

import "github.com/hashicorp/memberlist"

// Datagram sends data to the named service of one living member, best effort:
// it may be lost, doubled or overtaken, and nobody passes it on. It is sealed as
// all gossip is, does not wait, and keeps nothing of data. What is longer than
// MaxDatagram is dropped, as is what is for nobody who is alive.
func (m *Mesh) Datagram(member, service string, data []byte) {
	addr := m.living(member)
	if addr == "" || len(data) > MaxDatagram {
		m.stats.datagramsUnsent.Add(1)
		return
	}
	m.send(memberlist.Address{Addr: addr, Name: member}, frame{service: service, data: data}.encode())
}

// MaxDatagram is the most bytes of a Datagram, so that with its headers and the
// seal it fits the packets of nearly every network.
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
