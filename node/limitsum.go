package node

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/meshgw/meshgw/api"
)

// limitService answers other nodes with the limits as this node keeps them: given a
// key, a []api.LimitUse as JSON.
const limitService = "limits"

func (n *Node) serveLimits(key []byte) ([]byte, error) { return json.Marshal(n.limitUse(string(key))) }

// Limits returns the limits and who uses them, as this node keeps them or as all
// nodes do together. key is the name of a limit, the hash of a key, or a part of
// whom it counts; empty is all.
func (n *Node) Limits(ctx context.Context, key string, mesh bool) []api.LimitUse {
	if !mesh {
		return n.limitUse(key)
	}
	sum := limitSum{at: map[string]int{}, all: []api.LimitUse{}}
	silent := []api.Unanswered{}
	for _, a := range n.askAll(ctx, limitService, []byte(key)) {
		var limits []api.LimitUse
		if a.err == nil {
			a.err = json.Unmarshal(a.data, &limits)
		}
		if a.err != nil {
			silent = append(silent, api.Unanswered{Node: a.node, Reason: a.err.Error()})
			continue
		}
		sum.add(a.node, limits)
	}
	return sum.limits(silent)
}

// limitSum puts together what nodes say of the limits.
type limitSum struct {
	all []api.LimitUse
	at  map[string]int // by name
}

func (s *limitSum) add(node string, limits []api.LimitUse) {
	for _, l := range limits {
		i, known := s.at[l.Name]
		if !known {
			i = len(s.all)
			s.at[l.Name] = i
			s.all = append(s.all, api.LimitUse{Limit: l.Limit, Keys: []api.LimitKey{}})
			s.all[i].Allowed, s.all[i].Refused = 0, 0
		}
		sum := &s.all[i]
		sum.Allowed += l.Allowed
		sum.Refused += l.Refused
		sum.Tracked = max(sum.Tracked, l.Tracked)
		for _, k := range l.Keys {
			at := slices.IndexFunc(sum.Keys, func(other api.LimitKey) bool { return other.Key == k.Key })
			if at < 0 {
				at = len(sum.Keys)
				sum.Keys = append(sum.Keys, api.LimitKey{Key: k.Key, Kind: k.Kind, Mode: "normal"})
			}
			addKey(&sum.Keys[at], node, k)
		}
	}
}

// addKey adds what node says of a key. The users are those that the home knows
// and, of what it does not, those that speak for themselves.
func addKey(sum *api.LimitKey, node string, k api.LimitKey) {
	sum.Of = cmp.Or(sum.Of, k.Of)
	sum.Lease, sum.Demand, sum.Admitted, sum.Waiting = sum.Lease+k.Lease, sum.Demand+k.Demand, sum.Admitted+k.Admitted, sum.Waiting+k.Waiting
	sum.Leased = sum.Leased || k.Leased
	if graveness(k.Mode) > graveness(sum.Mode) {
		sum.Mode, sum.Why = k.Mode, k.Why+", at "+node
	}
	if k.Pool != nil {
		sum.Home, sum.Pool = k.Home, k.Pool
		for _, u := range k.Users {
			*user(sum, u.Node) = u
		}
	}
	sum.Home = cmp.Or(sum.Home, k.Home)
	if k.Demand == 0 && !k.Leased {
		return
	}
	if u := user(sum, node); u.Demand == 0 && u.Lease == 0 {
		u.Demand, u.Lease = k.Demand, k.Lease
	}
}

// user finds the user of a key, made if need be.
func user(k *api.LimitKey, node string) *api.LimitUser {
	i := slices.IndexFunc(k.Users, func(u api.LimitUser) bool { return u.Node == node })
	if i < 0 {
		i = len(k.Users)
		k.Users = append(k.Users, api.LimitUser{Node: node})
	}
	return &k.Users[i]
}

func graveness(mode string) int {
	return slices.Index([]string{"normal", "waiting", "partitioned", "isolated"}, mode)
}

// limits returns the sum, the heaviest keys and users first.
func (s *limitSum) limits(silent []api.Unanswered) []api.LimitUse {
	for i := range s.all {
		l := &s.all[i]
		l.Unanswered = silent
		l.Tracked = max(l.Tracked, len(l.Keys))
		l.Keys = heaviest(l.Keys)
		for _, k := range l.Keys {
			slices.SortFunc(k.Users, func(a, b api.LimitUser) int {
				return cmp.Or(cmp.Compare(b.Demand, a.Demand), cmp.Compare(a.Node, b.Node))
			})
		}
	}
	return s.all
}
