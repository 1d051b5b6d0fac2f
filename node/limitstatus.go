package node

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/quota"
)

// limitStatus is every limit of the table with what was decided by it here.
func (n *Node) limitStatus() []api.Limit {
	counts := map[string]dataplane.LimitStatus{}
	for _, c := range n.plane.Limits() {
		counts[c.Name] = c
	}
	table := n.routes.table()
	all := []api.Limit{}
	for _, r := range table.Limits() {
		l := api.Limit{Name: r.Name, Burst: r.Burst, Concurrency: r.Concurrency, Scope: "mesh"}
		if r.Spec.Rate != nil {
			l.Rate = r.Spec.Rate.String()
		}
		if r.PerNode {
			l.Scope = "node"
		}
		all = append(all, l)
	}
	for _, t := range table.Tenants() {
		if t.N > 0 || t.Concurrency > 0 {
			l := api.Limit{Name: dataplane.TenantLimit(t.Name), Burst: t.Burst, Concurrency: t.Concurrency, Scope: "mesh"}
			if t.Spec.Limits.Rate != nil {
				l.Rate = t.Spec.Limits.Rate.String()
			}
			all = append(all, l)
		}
	}
	for i := range all {
		all[i].Allowed, all[i].Refused = counts[all[i].Name].Allowed, counts[all[i].Name].Refused
	}
	return all
}

// shownKeys is how many keys of a limit are shown where none was asked for.
const shownKeys = 20

// limitUse is Limits as this node keeps them.
func (n *Node) limitUse(key string) []api.LimitUse {
	byLimit := map[string][]api.LimitKey{}
	for name, k := range n.limits.keys() {
		byLimit[name] = append(byLimit[name], k)
	}
	all := []api.LimitUse{}
	for _, l := range n.limitStatus() {
		keys := byLimit[l.Name]
		use := api.LimitUse{Limit: l, Tracked: len(keys)}
		if key != "" && key != l.Name {
			keys = slices.DeleteFunc(keys, func(k api.LimitKey) bool { return k.Key != key && (k.Of == "" || !strings.Contains(k.Of, key)) })
			if len(keys) == 0 {
				continue
			}
		}
		use.Keys = heaviest(keys)
		all = append(all, use)
	}
	return all
}

// heaviest returns the keys that are shown, the heaviest first.
func heaviest(keys []api.LimitKey) []api.LimitKey {
	slices.SortFunc(keys, func(a, b api.LimitKey) int {
		return cmp.Or(cmp.Compare(weightOf(b), weightOf(a)), cmp.Compare(a.Key, b.Key))
	})
	return append([]api.LimitKey{}, keys[:min(len(keys), shownKeys)]...)
}

// weightOf is how much is asked of a key, over the whole mesh where this node is
// its home.
func weightOf(k api.LimitKey) float64 {
	sum := 0.0
	for _, u := range k.Users {
		sum += u.Demand
	}
	return max(sum, k.Demand)
}

// keys yields every key in use here, with the name of its limit.
func (l *limits) keys() func(yield func(string, api.LimitKey) bool) {
	now := l.now()
	homes := map[quota.Key]quota.HomeStatus{}
	for h := range l.engine.Homes(now) {
		homes[h.Key] = h
	}
	return func(yield func(string, api.LimitKey) bool) {
		for s := range l.engine.Keys(now) {
			k := l.describe(s)
			if h, ok := homes[s.Key]; ok {
				l.describeHome(&k, h)
				delete(homes, s.Key)
			}
			if !yield(s.Limit.Name, k) {
				return
			}
		}
		for _, h := range homes { // used by others alone
			k := l.describe(quota.KeyStatus{Key: h.Key, Limit: h.Limit, Mode: "normal"})
			l.describeHome(&k, h)
			if !yield(h.Limit.Name, k) {
				return
			}
		}
	}
}

func (l *limits) describe(s quota.KeyStatus) api.LimitKey {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := api.LimitKey{
		Key: hexKey(s.Key), Of: l.names[s.Key], Kind: "rate", Home: l.nodes[s.Home],
		Mode: s.Mode, Why: whyMode(s.Mode), Lease: s.Rate, Leased: s.Leased, Demand: s.Demand, Admitted: s.Admitted, Waiting: s.Waiting,
	}
	if s.Limit.Slots > 0 {
		k.Kind = "concurrency"
	}
	return k
}

func (l *limits) describeHome(k *api.LimitKey, h quota.HomeStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.Home, k.Pool = l.nodes[l.self], &h.Pool
	for _, u := range h.Users {
		k.Users = append(k.Users, api.LimitUser{
			Node: l.nodes[u.Node], Demand: u.Demand, Lease: u.Rate, AgeMS: float64(u.Age) / float64(time.Millisecond), Silent: u.Silent,
		})
	}
}

func whyMode(mode string) string {
	switch mode {
	case "waiting":
		return "requests wait for the answer of the key's home"
	case "partitioned":
		return "nodes are missing; those in sight keep to their part of the limit"
	case "isolated":
		return "the home does not answer, or less than half of the nodes are in sight"
	}
	return ""
}
