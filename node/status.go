package node

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/gossip"
	"github.com/meshgw/meshgw/roster"
)

// neighbour is a member as Serf sees it, with what it told of itself, if
// anything.
type neighbour struct {
	member gossip.Member
	word   roster.Node
}

// view is all members by name, this node too.
func (n *Node) view() []neighbour {
	words := map[string]roster.Node{}
	for _, w := range n.roster.Nodes() {
		if old, ok := words[w.Name]; !ok || w.StartedAt > old.StartedAt {
			words[w.Name] = w
		}
	}
	members := n.mesh.Members()
	all := make([]neighbour, len(members))
	for i, m := range members {
		all[i] = neighbour{member: m, word: words[m.Name]}
	}
	return all
}

// holders is who holds which table, of the nodes that have not left.
func (n *Node) holders() []holder {
	var all []holder
	for _, v := range n.view() {
		if v.word.ID != "" && v.member.Status != api.MemberLeft && v.member.Status != api.MemberLeaving {
			all = append(all, holder{
				name: v.member.Name, alive: v.member.Status == api.MemberAlive,
				version: v.word.Routes.Version, digest: v.word.Routes.Digest,
				held: v.word.Routes.Held, why: cmp.Or(v.word.Routes.Refused, v.word.Routes.HeldReason),
			})
		}
	}
	return all
}

// Status returns this node's whole state.
func (n *Node) Status() api.Status {
	table := n.routes.table()
	s := api.Status{
		Node: api.Node{
			Name: n.cfg.Node.Name, Region: n.cfg.Node.Region, Zone: n.cfg.Node.Zone, Weight: int(n.weight.Load()),
			Version: n.build, StartedAt: n.started, State: string(*n.phase.Load()),
		},
		Listen:   n.listen,
		Members:  []api.Member{},
		Isolated: n.mesh.Isolated(),
		Routes: api.RoutesStatus{
			Version: table.Version(), Digest: table.Digest(), AppliedAt: n.routes.appliedAt(),
			Conflicts: n.routes.conflicts(), Pending: n.routes.pending(),
		},
		Drift:     n.drift.now(),
		Upstreams: n.upstreams(),
		Limits:    n.limitStatus(),
		Load:      loadOf(*n.load.Load()),
	}
	for _, v := range n.view() {
		s.Members = append(s.Members, api.Member{
			Name: v.member.Name, Address: v.member.Addr, Region: cmp.Or(v.word.Region, v.member.Region), Weight: v.word.Weight,
			Status: v.member.Status, RTTMillis: millis(v.member.RTT),
			RoutesVersion: v.word.Routes.Version, RoutesDigest: v.word.Routes.Digest, Load: loadOf(v.word.Load),
		})
	}
	return s
}

// Mesh returns what this node knows of every member.
func (n *Node) Mesh() api.Mesh {
	m := api.Mesh{Node: n.cfg.Node.Name, Isolated: n.mesh.Isolated(), Members: []api.MeshNode{}}
	for _, v := range n.view() {
		node := api.Node{
			Name: v.member.Name, Region: cmp.Or(v.word.Region, v.member.Region), Zone: v.word.Zone, Weight: v.word.Weight,
			Version: v.word.Build, State: string(v.word.Phase),
		}
		if v.word.StartedAt > 0 {
			node.StartedAt = time.UnixMilli(v.word.StartedAt).UTC()
		}
		m.Members = append(m.Members, api.MeshNode{
			Node: node, Address: v.member.Addr, Status: v.member.Status, RTTMillis: millis(v.member.RTT),
			Listen: listenOf(v.word.Listen), Load: loadOf(v.word.Load),
			Routes: api.RoutesVersion{Version: v.word.Routes.Version, Digest: v.word.Routes.Digest},
		})
	}
	return m
}

func loadOf(l roster.Load) api.Load {
	return api.Load{CPU: l.CPU, Inflight: l.Inflight, RPS: l.RequestsPerSecond}
}

func millis(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	return new(float64(d.Microseconds()) / 1000)
}

// Answers to Serf queries, which carry 1 KB at most.

// maxAnswer leaves room for Serf's own part of a response of 1024 bytes.
const maxAnswer = 900

func answer(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil || len(data) > maxAnswer {
		return []byte(`{"error":"answer too large, see GET /v1/status"}`)
	}
	return data
}

func (n *Node) versionAnswer() any {
	table := n.routes.table()
	return struct {
		Version uint64    `json:"version"`
		Digest  string    `json:"digest"`
		Since   time.Time `json:"since,omitzero"`
		Pending int       `json:"pending"`
	}{table.Version(), table.Digest(), n.routes.appliedAt(), len(n.routes.pending())}
}

func (n *Node) loadAnswer() any { return loadOf(*n.load.Load()) }

func (n *Node) healthAnswer(upstream string) any {
	for _, u := range n.upstreams() {
		if u.Name == upstream {
			for i := range u.Endpoints {
				u.Endpoints[i].Verdicts = nil // of others, who answer for themselves
			}
			return u
		}
	}
	return struct {
		Error string `json:"error"`
	}{"no upstream " + upstream}
}
