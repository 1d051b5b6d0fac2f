package node

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/gossip"
	"github.com/meshgw/meshgw/quota"
)

// limitMembers is who can be the home of a limit, and who could.
func (n *Node) limitMembers() []limitMember {
	var all []limitMember
	for _, v := range n.view() {
		if !v.member.Node || v.word.ID == "" {
			continue // nobody knows its id yet, it will be told soon
		}
		m := limitMember{name: v.member.Name, addr: v.member.Addr, Member: quota.Member{
			ID: nodeID(v.word.ID), Incarnation: v.word.Incarnation, RTT: v.member.RTT,
		}}
		switch v.member.Status {
		case api.MemberAlive:
			m.State = quota.Alive
		case api.MemberFailed:
			m.State = quota.Vanished
		default:
			m.State = quota.Left
		}
		all = append(all, m)
	}
	return all
}

func (n *Node) sendLimits(member string, data []byte) { n.mesh.Datagram(member, limitsState, data) }

func (n *Node) pushLimits() { n.mesh.Push(limitsState) }

// mayFound: a node that knows of no other may, at once; else the first of a mesh
// that was heard; else whoever has waited long enough.
func (n *Node) mayFound(waited time.Duration) bool {
	if len(n.cfg.Gossip.Join) == 0 && len(n.peersBefore()) == 0 || waited >= foundAfter {
		return true
	}
	select {
	case <-n.mesh.Heard(limitsState):
		return n.isFirst()
	default:
		return false
	}
}

func (n *Node) refusesGossip(ctx context.Context, addr string) bool {
	network := n.world.Gossip
	if network == nil {
		network = gossip.Sockets{}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := network.Dial(ctx, addr)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// refusals asks the addresses of vanished nodes whether anybody is there: a
// process that has died says so, a network that is cut says nothing.
type refusals struct {
	mesh limitMesh

	mu    sync.Mutex // guards the rest
	addrs map[string]bool
}

func newRefusals(mesh limitMesh) *refusals { return &refusals{mesh: mesh, addrs: map[string]bool{}} }

// of reports what was found out of addr.
func (r *refusals) of(addr string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addrs[addr]
}

// watch makes addrs those that are asked.
func (r *refusals) watch(addrs []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := make(map[string]bool, len(addrs))
	for _, addr := range addrs {
		next[addr] = r.addrs[addr]
	}
	r.addrs = next
}

const refusalsEvery = 10 * time.Second

func (r *refusals) run(ctx context.Context) {
	tick := time.NewTicker(refusalsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, addr := range r.asked() {
			refused := r.mesh.refusesGossip(ctx, addr)
			r.mu.Lock()
			if _, still := r.addrs[addr]; still {
				r.addrs[addr] = refused
			}
			r.mu.Unlock()
		}
	}
}

func (r *refusals) asked() (addrs []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for addr := range r.addrs {
		addrs = append(addrs, addr)
	}
	return addrs
}
