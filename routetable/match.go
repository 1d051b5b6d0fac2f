package routetable

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// Request is what a request is matched on. Nothing of it is kept.
type Request struct {
	Listener string // name of the listener it came in by
	Method   []byte
	Host     []byte // canonical: lower case, without port
	Path     []byte // canonical, without query
	Fields   Fields // asked only when a candidate needs it
}

// Fields returns a request's header and query. It is used while matching only,
// and what it returns is not kept.
type Fields interface {
	// Header returns the value of the field named name, which is in lower
	// case, and whether there is one.
	Header(name string) ([]byte, bool)

	// Query returns the decoded value of the first query parameter named
	// name, and whether there is one.
	Query(name string) ([]byte, bool)
}

// Hit says which rule answers a request.
type Hit struct {
	Rule   *Rule
	Prefix int // bytes of Path that the rule's prefix covered; -1 if it was not matched by prefix
}

// Match finds the rule for r, by the precedence of Gateway API's HTTPRoute: the
// longest exact host, then the longest wildcard, then any host; among those the
// exact path, then regular expressions, then the longest prefix; then a match
// with methods, the most headers, the most query parameters, the oldest stamp,
// the name and the order within the route. It does not allocate.
func (t *Table) Match(r *Request) (Hit, bool) {
	if h := t.hosts.exact[string(r.Host)]; h != nil {
		if hit, ok := h.match(r); ok {
			return hit, true
		}
	}
	if len(t.hosts.wildcard) > 0 {
		// The longest suffix comes first. "*" stands for one label or more.
		for rest := r.Host; ; {
			dot := bytes.IndexByte(rest, '.')
			if dot < 0 {
				break
			}
			rest = rest[dot+1:]
			if dot == 0 && len(rest)+1 == len(r.Host) {
				continue // ".example.com" has no label that "*" could stand for
			}
			if len(rest) > t.hosts.longest {
				continue
			}
			if h := t.hosts.wildcard[string(rest)]; h != nil {
				if hit, ok := h.match(r); ok {
					return hit, true
				}
			}
		}
	}
	return t.hosts.any.match(r)
}

// hostIndex holds what can match, by host.
type hostIndex struct {
	exact    map[string]*hostRules
	wildcard map[string]*hostRules // "example.com" for "*.example.com"
	longest  int                   // length of the longest key of wildcard
	any      *hostRules
}

// hostRules holds what can match for one host, in the order of precedence.
type hostRules struct {
	exact    map[string][]*candidate
	regex    []*candidate
	prefixes prefixNode
}

// prefixNode is a node of the tree of prefixes by path segment, so that the
// cost of a path follows from the prefixes there are, not from its length.
type prefixNode struct {
	parent     *prefixNode
	children   map[string]*prefixNode
	candidates []*candidate
	length     int // bytes of path covered
}

// candidate is one match of one rule.
type candidate struct {
	*conditions
	rule     *Rule
	order    int    // of the match in its route
	path     string // exact, or a prefix without a trailing slash
	byPrefix bool
	regex    *regexp.Regexp // instead of path; else nil
	literal  int            // bytes of the literal prefix of regex
}

// conditions are those of a match besides host and path.
type conditions struct {
	methods   []string
	headers   []NameValue
	query     []NameValue
	listeners []string
}

func (h *hostRules) match(r *Request) (Hit, bool) {
	for _, c := range h.exact[string(r.Path)] {
		if c.admits(r) {
			return Hit{c.rule, -1}, true
		}
	}
	for _, c := range h.regex {
		if c.regex.Match(r.Path) && c.admits(r) {
			return Hit{c.rule, -1}, true
		}
	}
	for n := h.prefixes.deepest(r.Path); n != nil; n = n.parent {
		for _, c := range n.candidates {
			if c.admits(r) {
				return Hit{c.rule, n.length}, true
			}
		}
	}
	return Hit{}, false
}

// deepest returns the node of the longest prefix of path that the tree knows.
func (n *prefixNode) deepest(path []byte) *prefixNode {
	for len(path) > 0 && path[0] == '/' && len(n.children) > 0 {
		path = path[1:]
		segment := path
		if end := bytes.IndexByte(path, '/'); end >= 0 {
			segment = path[:end]
		}
		child := n.children[string(segment)]
		if child == nil {
			break
		}
		n, path = child, path[len(segment):]
	}
	return n
}

// node returns the node of prefix, made if need be. prefix begins with "/" and
// does not end with it, or is empty.
func (n *prefixNode) node(prefix string) *prefixNode {
	for prefix != "" {
		segment := prefix[1:]
		if end := strings.IndexByte(segment, '/'); end >= 0 {
			segment = segment[:end]
		}
		prefix = prefix[1+len(segment):]
		if n.children == nil {
			n.children = map[string]*prefixNode{}
		}
		child := n.children[segment]
		if child == nil {
			child = &prefixNode{parent: n, length: n.length + 1 + len(segment)}
			n.children[segment] = child
		}
		n = child
	}
	return n
}

// admits checks everything but host and path.
func (c *conditions) admits(r *Request) bool {
	return contains(c.listeners, r.Listener) && contains(c.methods, r.Method) &&
		hasHeaders(r.Fields, c.headers) && hasQuery(r.Fields, c.query)
}

// contains reports whether have is among want; nothing wanted admits all.
func contains[T string | []byte](want []string, have T) bool {
	return len(want) == 0 || slices.Contains(want, string(have))
}

func hasHeaders(fields Fields, want []NameValue) bool {
	for i := range want {
		if got, ok := fields.Header(want[i].Name); !ok || string(got) != want[i].Value {
			return false
		}
	}
	return true
}

func hasQuery(fields Fields, want []NameValue) bool {
	for i := range want {
		if got, ok := fields.Query(want[i].Name); !ok || string(got) != want[i].Value {
			return false
		}
	}
	return true
}
