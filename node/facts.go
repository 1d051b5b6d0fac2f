package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/doctor"
	"github.com/meshgw/meshgw/gossip"
	"github.com/meshgw/meshgw/roster"
)

// factsService answers other nodes with what the doctor wants to know of this one:
// doctor.Facts as JSON.
const factsService = "facts"

// The most that a node tells of each kind, so that an answer stays small however
// much is wrong.
const (
	mostUpstreams = 200
	mostFailures  = 50
	mostTraffic   = 1000
)

// Doctor asks all nodes for their facts and judges them.
func (n *Node) Doctor(ctx context.Context) api.Diagnosis {
	round := doctor.Round{Node: n.cfg.Node.Name, Now: n.world.now().UTC()}
	for _, a := range n.askAll(ctx, factsService, nil) {
		var facts doctor.Facts
		if a.err == nil {
			a.err = json.Unmarshal(a.data, &facts)
		}
		if a.err != nil {
			round.Silent = append(round.Silent, n.silent(a))
			continue
		}
		round.Answers = append(round.Answers, doctor.Answer{Facts: facts, Asked: a.asked, Answered: a.ended})
	}
	return doctor.Judge(round)
}

// silent is what gossip has told of a node that does not answer.
func (n *Node) silent(a answered) doctor.Silent {
	s := doctor.Silent{Name: a.node, Reason: a.err.Error()}
	for _, v := range n.view() {
		if v.member.Name == a.node {
			s.Region, s.Status, s.Descriptors = cmp.Or(v.word.Region, v.member.Region), v.member.Status, v.word.Load.Descriptors
		}
	}
	return s
}

func (n *Node) serveFacts([]byte) ([]byte, error) { return json.Marshal(n.facts()) }

func (n *Node) facts() doctor.Facts {
	status := n.Status()
	f := doctor.Facts{
		Node: n.cfg.Node.Name, Region: n.cfg.Node.Region, Build: n.build,
		Routes: status.Routes, Drift: status.Drift,
		Upstreams: sickUpstreams(status.Upstreams),
		Members:   n.membersSeen(), Isolated: status.Isolated,
		Uses: n.uses(status.Upstreams), Shedding: *n.phase.Load() == roster.Shedding,
		Errors:       n.failures(n.world.now()),
		Certificates: n.certificatesShown(),
		Traffic:      n.pastTraffic(),
	}
	f.Keys, f.Sealed = n.gossipKeys()
	f.OpenRPC = len(f.Keys) > 0 && n.cfg.Gossip.RPCAuth == "" && n.listen.RPC != ""
	f.Clock = n.world.now().UTC() // last, since what came before took its time
	return f
}

// sickUpstreams leaves out the endpoints that are well.
func sickUpstreams(all []api.Upstream) []doctor.Upstream {
	out := []doctor.Upstream{}
	for _, u := range all {
		sick := doctor.Upstream{Name: u.Name, Total: map[string]int{}, Refused: u.Refused, Alone: u.Alone}
		for _, e := range u.Endpoints {
			sick.Total[e.Region]++
			if !e.Healthy {
				e.Verdicts = nil // every node tells its own
				sick.Bad = append(sick.Bad, e)
			}
		}
		out = append(out, sick)
	}
	slices.SortStableFunc(out, func(a, b doctor.Upstream) int { return len(b.Bad) - len(a.Bad) })
	return out[:min(len(out), mostUpstreams)]
}

// reachability remembers for a moment which nodes can be reached: many may ask at once.
type reachability struct {
	mu   sync.Mutex // guards the rest, and is held while it is found out
	at   time.Time
	last map[string]gossip.Link
}

const (
	reachEvery  = 5 * time.Second
	reachWithin = 1500 * time.Millisecond // half of what whoever asks waits
)

func (r *reachability) look(mesh *gossip.Mesh) map[string]gossip.Link {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) < reachEvery {
		return r.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), reachWithin)
	defer cancel()
	r.last = map[string]gossip.Link{}
	for _, link := range mesh.Reach(ctx) {
		r.last[link.Name] = link
	}
	r.at = time.Now()
	return r.last
}

func (n *Node) membersSeen() []doctor.Member {
	reached, all := n.reached.look(n.mesh), []doctor.Member{}
	for _, m := range n.mesh.Members() {
		if m.Self || !m.Node || m.Status == api.MemberLeft {
			continue
		}
		link, known := reached[m.Name]
		host, _, _ := net.SplitHostPort(m.Addr) // empty where there is none
		seen := doctor.Member{
			Name: m.Name, Region: m.Region, Host: host, Status: m.Status, Since: m.Failed,
			Reached: link.Reached || !known, // one that has only just joined was not asked
			Heard:   link.Heard.Seconds(),
		}
		if !known {
			seen.Heard = -1
		}
		all = append(all, seen)
	}
	return all
}

// uses is how much of each limit is used; of upstreams, only where it is much.
func (n *Node) uses(upstreams []api.Upstream) []doctor.Use {
	load := n.plane.Load()
	open, files := descriptors()
	memory, most := cgroupMemory(os.DirFS("/"))
	heap, bound := heapMemory()
	all := []doctor.Use{
		{What: doctor.CPU, Used: n.load.Load().CPU, Limit: 1},
		{What: doctor.Memory, Used: memory, Limit: most},
		{What: doctor.Heap, Used: heap, Limit: bound},
		{What: doctor.Descriptors, Used: float64(open), Limit: float64(files)},
		{What: doctor.Connections, Used: float64(load.Clients), Limit: float64(n.plane.MaxConns())},
		{What: doctor.Requests, Used: float64(load.Inflight), Limit: float64(n.cfg.MaxInflight)},
	}
	table := n.routes.table()
	for _, u := range upstreams {
		service := table.Service(u.Name)
		if service == nil {
			continue // of a table that came in between
		}
		if 2*u.Pending >= service.MaxPending && u.Pending > 0 {
			all = append(all, doctor.Use{What: doctor.UpstreamPending, Of: u.Name, Used: float64(u.Pending), Limit: float64(service.MaxPending)})
		}
		for _, e := range u.Endpoints {
			if e.Inflight >= service.MaxConnections {
				all = append(all, doctor.Use{What: doctor.UpstreamBusy, Of: e.URL, Used: float64(e.Inflight), Limit: float64(service.MaxConnections)})
			}
		}
	}
	return all[:min(len(all), mostUpstreams)]
}

// failures groups what failed lately, the most first. What a client did wrong, or
// did not wait for, is none.
func (n *Node) failures(now time.Time) []doctor.Failure {
	type alike struct{ route, upstream, err string }
	sums := map[alike]*doctor.Failure{}
	for r := range n.requests.Kept(now.Add(-doctor.Recent)) {
		if r.Status < http.StatusInternalServerError && r.Error != "upstream_reset" {
			continue
		}
		key := alike{string(r.Route), r.Upstream, cmp.Or(r.Error, strconv.Itoa(r.Status))}
		sum := sums[key]
		if sum == nil {
			sum = &doctor.Failure{Route: key.route, Upstream: key.upstream, Error: key.err}
			sums[key] = sum
		}
		sum.Count++
		if end := r.Start.Add(r.Took); end.After(sum.Last) {
			sum.Last, sum.RequestID = end, string(r.RequestID)
		}
	}
	all := []doctor.Failure{}
	for _, sum := range sums {
		all = append(all, *sum)
	}
	slices.SortFunc(all, func(a, b doctor.Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Error, b.Error))
	})
	return all[:min(len(all), mostFailures)]
}

// gossipKeys are the keys of the keyring, the primary first, and how much this
// node has sealed with each.
func (n *Node) gossipKeys() (keys []string, sealed map[string]uint64) {
	sealed = map[string]uint64{}
	for _, k := range n.mesh.Keys() {
		keys = append(keys, k.Fingerprint)
		sealed[k.Fingerprint] = k.Sealed
	}
	return keys, sealed
}

func (n *Node) certificatesShown() []doctor.Certificate {
	all := []doctor.Certificate{}
	for _, certs := range n.certs {
		for _, leaf := range certs.Leaves() {
			all = append(all, certificateOf("https", leaf))
		}
	}
	if loaded := n.links.loaded.Load(); loaded != nil {
		all = append(all, certificateOf("mesh", loaded.own))
		for _, ca := range loaded.roots {
			all = append(all, certificateOf("mesh_ca", ca))
		}
	}
	for _, u := range n.plane.UpstreamCertificates() {
		for _, c := range u.Theirs {
			all = append(all, certificateOf(doctor.OfUpstream+u.Upstream, c))
		}
		if u.Ours != nil {
			all = append(all, certificateOf(doctor.ForUpstream+u.Upstream, u.Ours))
		}
	}
	return all
}

func certificateOf(use string, c *x509.Certificate) doctor.Certificate {
	sum := sha256.Sum256(c.Raw)
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return doctor.Certificate{
		Use: use, Names: cmp.Or(strings.Join(names, ", "), c.Subject.CommonName, "no name"),
		Fingerprint: hex.EncodeToString(sum[:8]), From: c.NotBefore, Until: c.NotAfter,
	}
}

// pastTraffic is that of the busiest routes, now or usually.
func (n *Node) pastTraffic() []doctor.Traffic {
	all := []doctor.Traffic{}
	for route, h := range n.traffic.History() {
		all = append(all, doctor.Traffic{Route: route, Age: h.Age, Rate: h.Rate, UsualRate: h.UsualRate, Errors: h.Errors, UsualErrors: h.UsualErrors})
	}
	slices.SortFunc(all, func(a, b doctor.Traffic) int {
		return cmp.Or(cmp.Compare(max(b.Rate, b.UsualRate), max(a.Rate, a.UsualRate)), cmp.Compare(a.Route, b.Route))
	})
	return all[:min(len(all), mostTraffic)]
}
