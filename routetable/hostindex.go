package routetable

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/meshgw/meshgw/routetable/canonical"
)

// indexHosts sorts the matches of rules into their hosts. A host that none of
// changed is about is as in old. changed are the rules that only one of the two
// tables has. rules are sorted by name, and sorting is stable, so the name decides
// what nothing else does.
func indexHosts(rules, changed []*Rule, old hostIndex) hostIndex {
	fresh := map[string]*hostRules{}
	for _, r := range changed {
		for _, host := range r.hosts {
			fresh[host] = nil // gone, unless a rule is about it
		}
	}
	for _, r := range rules {
		for _, host := range r.hosts {
			h, isFresh := fresh[host]
			if !isFresh {
				continue
			}
			if h == nil {
				h = &hostRules{}
				fresh[host] = h
			}
			for i := range r.candidates {
				h.add(&r.candidates[i])
			}
		}
	}
	return old.with(fresh)
}

// with returns x with other rules for some hosts, or none where they are nil.
func (x hostIndex) with(fresh map[string]*hostRules) hostIndex {
	next := hostIndex{exact: cloned(x.exact, len(fresh)), wildcard: cloned(x.wildcard, 0), any: x.any}
	for pattern, h := range fresh {
		if h != nil {
			h.sort()
		}
		suffix, wild := strings.CutPrefix(pattern, "*.")
		switch {
		case pattern == "*":
			next.any = h
		case wild:
			put(next.wildcard, suffix, h)
		default:
			put(next.exact, pattern, h)
		}
	}
	if next.any == nil {
		next.any = &hostRules{}
	}
	for suffix := range next.wildcard {
		next.longest = max(next.longest, len(suffix))
	}
	return next
}

// cloned returns a copy of m with room for more.
func cloned(m map[string]*hostRules, more int) map[string]*hostRules {
	out := make(map[string]*hostRules, len(m)+more)
	maps.Copy(out, m)
	return out
}

func put(m map[string]*hostRules, host string, h *hostRules) {
	if h == nil {
		delete(m, host)
	} else {
		m[host] = h
	}
}

// hostsOf returns the route's hosts in canonical form, each once; "*" for none.
func hostsOf(r *Route) []string {
	if len(r.Hosts) == 0 {
		return []string{"*"}
	}
	if isCanonical(r.Hosts) {
		return r.Hosts // as nearly always, and not held twice
	}
	hosts := make([]string, 0, len(r.Hosts))
	for _, h := range r.Hosts {
		if h = canonicalHost(h); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// isCanonical reports whether hosts are in canonical form, each once.
func isCanonical(hosts []string) bool {
	for i, h := range hosts {
		if canonicalHost(h) != h || slices.Contains(hosts[:i], h) {
			return false
		}
	}
	return true
}

// canonicalHost converts a pattern to the form that ParseHost gives requests' hosts.
func canonicalHost(pattern string) string {
	if strings.Contains(pattern, ":") && pattern[0] != '[' {
		pattern = "[" + pattern + "]" // an IPv6 address
	}
	if host, _, err := canonical.ParseHost(make([]byte, 0, len(pattern)), []byte(pattern)); err == nil {
		if string(host) == pattern {
			return pattern // as nearly always, and not held twice
		}
		return string(host)
	}
	return strings.ToLower(pattern)
}

// canonicalPath converts a pattern to the form that ParseTarget gives requests' paths.
func canonicalPath(pattern string) string {
	if pattern == "" {
		return ""
	}
	if path, err := canonical.AppendPath(make([]byte, 0, len(pattern)), []byte(pattern)); err == nil && string(path) != pattern {
		return string(path)
	}
	return pattern
}

// candidates returns the matches of a rule; one that takes all where it has none.
func (c *compiler) candidates(r *Rule) []candidate {
	matches := matchesOf(r.Spec)
	out := make([]candidate, len(matches))
	for i, m := range matches {
		out[i] = candidate{conditions: c.conditions(r.Spec, m), rule: r, order: i}
		switch at := &out[i]; {
		case m.PathRegex != "":
			at.regex, at.literal, _ = pathRegex(m.PathRegex)
		case m.Path != "":
			at.path = canonicalPath(m.Path)
		default:
			at.path, at.byPrefix = strings.TrimRight(canonicalPath(m.PathPrefix), "/"), true
		}
	}
	return out
}

func (c *compiler) conditions(r *Route, m *Match) *conditions {
	if len(m.Methods)+len(m.Headers)+len(m.Query)+len(r.Listeners) == 0 {
		return c.none
	}
	return &conditions{
		methods: m.Methods, listeners: r.Listeners,
		headers: firstOfEach(m.Headers, strings.ToLower),
		query:   firstOfEach(m.Query, func(s string) string { return s }),
	}
}

// firstOfEach keeps the first condition of each name, as Gateway API has it.
func firstOfEach(list []NameValue, canonical func(string) string) []NameValue {
	var out []NameValue
	for _, nv := range list {
		nv.Name = canonical(nv.Name)
		if !slices.ContainsFunc(out, func(o NameValue) bool { return o.Name == nv.Name }) {
			out = append(out, nv)
		}
	}
	return out
}

func (h *hostRules) add(c *candidate) {
	switch {
	case c.regex != nil:
		h.regex = append(h.regex, c)
	case c.byPrefix:
		n := h.prefixes.node(c.path)
		n.candidates = append(n.candidates, c)
	default:
		if h.exact == nil {
			h.exact = map[string][]*candidate{}
		}
		h.exact[c.path] = append(h.exact[c.path], c)
	}
}

func (h *hostRules) sort() {
	slices.SortStableFunc(h.regex, compareCandidates)
	for _, list := range h.exact {
		slices.SortStableFunc(list, compareCandidates)
	}
	h.prefixes.sort()
}

func (n *prefixNode) sort() {
	slices.SortStableFunc(n.candidates, compareCandidates)
	for _, child := range n.children {
		child.sort()
	}
}

// compareCandidates orders candidates of one host and one kind of path, for
// prefixes of one length, the first to ask first.
func compareCandidates(a, b *candidate) int {
	return cmp.Or(
		cmp.Compare(b.literal, a.literal),
		cmp.Compare(b.patternLength(), a.patternLength()),
		cmp.Compare(min(len(b.methods), 1), min(len(a.methods), 1)),
		cmp.Compare(len(b.headers), len(a.headers)),
		cmp.Compare(len(b.query), len(a.query)),
		a.rule.Stamp.Compare(b.rule.Stamp),
		strings.Compare(a.rule.Name, b.rule.Name),
		cmp.Compare(a.order, b.order),
	)
}

func (c *candidate) patternLength() int {
	if c.regex == nil {
		return 0
	}
	return len(c.regex.String())
}

// pathRegex compiles a pattern that must match the whole path, and counts the
// literal bytes it begins with.
func pathRegex(pattern string) (re *regexp.Regexp, literal int, err error) {
	re, err = regexp.Compile(`^(?:` + pattern + `)$`)
	if err != nil {
		return nil, 0, err
	}
	bare, err := regexp.Compile(strings.TrimPrefix(pattern, "^"))
	if err != nil {
		return nil, 0, err
	}
	prefix, _ := bare.LiteralPrefix()
	return re, len(prefix), nil
}
