package routetable

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/meshgw/meshgw/crdt"
)

// Explanation says which rule answers a request, why, and which came close.
type Explanation struct {
	Route  string   `json:"route,omitempty"` // empty: none
	Stamp  string   `json:"stamp,omitempty"`
	Broken string   `json:"broken,omitempty"` // why it answers 503, if it does
	Match  int      `json:"match"`            // place in the route's match
	Prefix int      `json:"prefix"`           // as in Hit
	Why    []string `json:"why,omitempty"`    // each condition that held
	Near   []Near   `json:"near,omitempty"`   // the nearest first
}

// Near is a match that did not answer.
type Near struct {
	Route  string   `json:"route"`
	Match  int      `json:"match"`
	Failed []string `json:"failed,omitempty"` // conditions that did not hold
	Lost   string   `json:"lost,omitempty"`   // where all held: what the answering one has over it
}

const maxNear = 5

// trial is one match of one rule held against a request.
type trial struct {
	*candidate
	host   string // pattern that matched best; empty for none
	held   []string
	failed []string
}

// Explain says what Match does with r, and why. It looks at every match of the
// table: it is for people, not for requests.
func Explain(t *Table, r *Request) Explanation {
	var trials []*trial
	for _, rule := range t.rules {
		for i := range rule.candidates {
			trials = append(trials, try(&rule.candidates[i], r))
		}
	}
	slices.SortStableFunc(trials, func(a, b *trial) int {
		if c := cmp.Compare(len(a.failed), len(b.failed)); c != 0 || len(a.failed) > 0 {
			return c
		}
		_, c := beats(a, b)
		return c
	})
	e := Explanation{Prefix: -1}
	if len(trials) > 0 && len(trials[0].failed) == 0 {
		best := trials[0]
		trials = trials[1:]
		e.Route, e.Broken, e.Match, e.Why = best.rule.Name, best.rule.Broken, best.order, best.held
		if best.rule.Stamp != (crdt.Stamp{}) {
			e.Stamp = best.rule.Stamp.String()
		}
		if best.byPrefix {
			e.Prefix = len(best.path)
		}
		for _, other := range trials[:min(maxNear, len(trials))] {
			near := Near{Route: other.rule.Name, Match: other.order, Failed: other.failed}
			if len(other.failed) == 0 {
				near.Lost, _ = beats(best, other)
			}
			e.Near = append(e.Near, near)
		}
		return e
	}
	for _, other := range trials[:min(maxNear, len(trials))] {
		e.Near = append(e.Near, Near{Route: other.rule.Name, Match: other.order, Failed: other.failed})
	}
	return e
}

func try(c *candidate, r *Request) *trial {
	t := &trial{candidate: c}
	check := func(held bool, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if held {
			t.held = append(t.held, text)
		} else {
			t.failed = append(t.failed, text)
		}
	}
	hosts := hostsOf(c.rule.Spec)
	for _, pattern := range hosts {
		if hostMatches(pattern, string(r.Host)) && (t.host == "" || compareHosts(pattern, t.host) < 0) {
			t.host = pattern
		}
	}
	if t.host != "" {
		check(true, "host %s", t.host)
	} else {
		check(false, "host %s", strings.Join(hosts, ", "))
	}
	held, text := c.pathHolds(string(r.Path))
	check(held, "%s", text)
	if len(c.listeners) > 0 {
		check(contains(c.listeners, r.Listener), "listener %s", strings.Join(c.listeners, ", "))
	}
	if len(c.methods) > 0 {
		check(contains(c.methods, r.Method), "method %s", strings.Join(c.methods, ", "))
	}
	for i, nv := range c.headers {
		check(hasHeaders(r.Fields, c.headers[i:i+1]), "header %s: %s", nv.Name, nv.Value)
	}
	for i, nv := range c.query {
		check(hasQuery(r.Fields, c.query[i:i+1]), "query %s=%s", nv.Name, nv.Value)
	}
	return t
}

func (c *candidate) pathHolds(path string) (held bool, text string) {
	switch {
	case c.regex != nil:
		return c.regex.MatchString(path), "path_regex " + c.rule.matchOf(c.order).PathRegex
	case c.byPrefix:
		rest, ok := strings.CutPrefix(path, c.path)
		return ok && (rest == "" || rest[0] == '/' || c.path == ""), "path_prefix " + cmp.Or(c.path, "/")
	}
	return path == c.path, "path " + c.path
}

func (r *Rule) matchOf(order int) *Match { return matchesOf(r.Spec)[order] }

func hostMatches(pattern, host string) bool {
	suffix, wild := strings.CutPrefix(pattern, "*")
	return pattern == host || pattern == "*" || wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix)
}

// compareHosts orders patterns that match one host: exact, then the longest.
func compareHosts(a, b string) int {
	return cmp.Or(
		cmp.Compare(strings.Count(a, "*"), strings.Count(b, "*")),
		cmp.Compare(len(b), len(a)),
	)
}

// beats says what puts a before b, both holding, and orders them.
func beats(a, b *trial) (why string, order int) {
	for _, c := range []struct {
		why   string
		order int
	}{
		{"the more exact host", compareHosts(a.host, b.host)},
		{"the more exact kind of path", cmp.Compare(a.pathKind(), b.pathKind())},
		{"the longer prefix", cmp.Compare(b.prefixLength(), a.prefixLength())},
		{"the longer literal beginning of its pattern", cmp.Compare(b.literal, a.literal)},
		{"the longer pattern", cmp.Compare(b.patternLength(), a.patternLength())},
		{"a method", cmp.Compare(min(len(b.methods), 1), min(len(a.methods), 1))},
		{"more headers", cmp.Compare(len(b.headers), len(a.headers))},
		{"more query parameters", cmp.Compare(len(b.query), len(a.query))},
		{"the older version", a.rule.Stamp.Compare(b.rule.Stamp)},
		{"the earlier name", strings.Compare(a.rule.Name, b.rule.Name)},
		{"the earlier place in the route", cmp.Compare(a.order, b.order)},
	} {
		if c.order != 0 {
			return c.why, c.order
		}
	}
	return "", 0
}

func (c *candidate) prefixLength() int {
	if !c.byPrefix {
		return 0
	}
	return len(c.path)
}

// pathKind orders exact paths before patterns before prefixes.
func (c *candidate) pathKind() int {
	switch {
	case c.byPrefix:
		return 2
	case c.regex != nil:
		return 1
	}
	return 0
}
