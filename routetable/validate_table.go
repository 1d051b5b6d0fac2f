package routetable

import (
	"fmt"
	"slices"
	"strings"
)

// references reports what routes name and the table lacks.
func (v *validator) references(all Objects) {
	upstreams, limits, tenants := names(all.Upstreams), names(all.Limits), names(all.Tenants)
	for i, r := range all.Routes {
		upstream := func(field, name string) {
			if _, ok := upstreams[name]; !ok && name != "" {
				v.at("routes", i, r)
				v.clashf(field, "no upstream %q%s", name, DidYouMean(name, upstreams))
			}
		}
		upstream("upstream", r.Upstream)
		for j, s := range r.Split {
			upstream(fmt.Sprintf("split[%d].upstream", j), s.Upstream)
		}
		if r.Mirror != nil {
			upstream("mirror.upstream", r.Mirror.Upstream)
		}
		for j, name := range r.Limits {
			if _, ok := limits[name]; !ok {
				v.at("routes", i, r)
				v.clashf(item("limits", j), "no limit %q%s", name, DidYouMean(name, limits))
			}
		}
		for j, name := range r.Tenants {
			if _, ok := tenants[name]; !ok {
				v.at("routes", i, r)
				v.clashf(item("tenants", j), "no tenant %q%s", name, DidYouMean(name, tenants))
			}
		}
	}
}

// patience warns of routes that give one try more time than all tries have by their
// upstream.
func (v *validator) patience(all Objects) {
	upstreams := make(map[string]*Upstream, len(all.Upstreams))
	for _, u := range all.Upstreams {
		upstreams[u.Name] = u
	}
	for i, r := range all.Routes {
		if r.Timeouts == nil || r.Timeouts.Response == nil || r.Timeouts.Request != nil {
			continue
		}
		for _, name := range r.upstreams() {
			u := upstreams[name]
			if u == nil {
				continue
			}
			request := Duration(defaultRequest)
			if u.Timeouts != nil {
				request = or(u.Timeouts.Request, request)
			}
			if request > 0 && *r.Timeouts.Response > request {
				v.at("routes", i, r)
				v.warnf("timeouts.response", "is longer than request, which is %s by upstream %s unless the route gives it, too", text(request), name)
				break
			}
		}
	}
}

// upstreams are the names of those that answer the route's requests.
func (r *Route) upstreams() []string {
	if r.Upstream != "" {
		return []string{r.Upstream}
	}
	all := make([]string, len(r.Split))
	for i, s := range r.Split {
		all[i] = s.Upstream
	}
	return all
}

func names[P Object](objects []P) map[string]struct{} {
	set := make(map[string]struct{}, len(objects))
	for _, o := range objects {
		set[o.ID().Name] = struct{}{}
	}
	return set
}

// shadows warns of matches that no request can reach, because another match of
// equal precedence takes all of theirs. Where headers or queries differ neither
// takes all, and the precedence itself puts the narrower path first.
func (v *validator) shadows(routes []Route) {
	const look = 32 // pairs to compare per place, so that a hostile file stays cheap
	type place struct {
		route *Route
		match *Match
		index [2]int // of the route, and of the match in it
	}
	seen := make(map[string][]place, len(routes))
	for i := range routes {
		r := &routes[i]
		for j, m := range matchesOf(r) {
			conditions := "\x00" + m.conditionsKey()
			for _, host := range hostsOf(r) {
				key := host + conditions
				before := seen[key][:min(look, len(seen[key]))]
				k := slices.IndexFunc(before, func(p place) bool { return takesAllOf(p.route, p.match, r, m) })
				if k >= 0 {
					p := before[k]
					v.at("routes", i, r)
					v.warnf(item("match", j), "routes[%d].match[%d] of route %q takes the same requests of host %q: the older answers", p.index[0], p.index[1], p.route.Name, host)
				}
				seen[key] = append(seen[key], place{r, m, [2]int{i, j}})
			}
		}
	}
}

// takesAllOf reports whether match m of route r takes all requests that match n of
// route o would, with equal precedence, where host and other conditions are equal.
func takesAllOf(r *Route, m *Match, o *Route, n *Match) bool {
	return covers(m.Methods, n.Methods) && covers(r.Listeners, o.Listeners) && (len(m.Methods) == 0) == (len(n.Methods) == 0)
}

// matchesOf returns the route's matches; one that takes all where it has none.
func matchesOf(r *Route) []*Match {
	if len(r.Match) == 0 {
		return []*Match{{}}
	}
	out := make([]*Match, len(r.Match))
	for i := range r.Match {
		out[i] = &r.Match[i]
	}
	return out
}

// conditionsKey is equal for matches that agree in all but methods.
func (m *Match) conditionsKey() string {
	var b strings.Builder
	switch {
	case m.PathRegex != "":
		b.WriteString("~" + m.PathRegex)
	case m.Path != "":
		b.WriteString("=" + m.Path)
	default:
		b.WriteString("^" + strings.TrimRight(m.PathPrefix, "/"))
	}
	for _, list := range [][]NameValue{
		firstOfEach(m.Headers, strings.ToLower),
		firstOfEach(m.Query, func(s string) string { return s }),
	} {
		b.WriteByte(0)
		slices.SortFunc(list, func(a, b NameValue) int { return strings.Compare(a.Name, b.Name) })
		for _, nv := range list {
			fmt.Fprintf(&b, "%q=%q,", nv.Name, nv.Value)
		}
	}
	return b.String()
}

// covers reports whether a admits all that b admits; none admits all.
func covers(a, b []string) bool {
	if len(a) == 0 {
		return true
	}
	return len(b) > 0 && !slices.ContainsFunc(b, func(s string) bool { return !slices.Contains(a, s) })
}
