package routetable

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/routetable/canonical"
)

// Rule is a compiled Route: every default applied, every reference
// resolved, every text parsed. It is never written to; tables of which it is part
// without any difference share it.
//
// Exactly one of Broken, Respond, Redirect and Targets says what becomes of a
// request, looked at in that order.
type Rule struct {
	Name  string
	Index int        // its own in the table, below Table.Places
	Spec  *Route     // as written
	Stamp crdt.Stamp // of the changeset that wrote it

	// Broken is not empty when the rule cannot serve, as when its upstream was
	// deleted elsewhere; it says why. Such a rule answers 503.
	Broken string

	Respond  *Response
	Redirect *Redirect // Status is set; see AppendLocation
	Targets  []Target  // weights above 0, in the order written
	Weight   int       // sum of the targets' weights

	RewriteHost     string // empty = the client's
	rewritePath     rewriteMode
	rewriteTo       string      // the path, or the prefix without its trailing slash
	RequestHeaders  *HeaderEdit // nil = as they are
	ResponseHeaders *HeaderEdit

	Allow    []netip.Prefix // none = all
	Deny     []netip.Prefix // looked at first
	Auth     []Auth         // any of admits; none = open
	Tenants  []string       // in order; whose requests alone are admitted, none = everybody's
	Limits   []*LimitRule
	Priority Priority
	MaxBody  int64 // bytes; 0 = no limit

	errorPages []PageRule

	CORS     *CORSRule
	Compress *Compress // every field set
	Mirror   *MirrorTarget

	keepsSlashes bool     // escaped ones
	hosts        []string // canonical
	candidates   []candidate
}

// Takes reports whether the rule is for requests of a canonical path that matched
// it: one with an escaped slash is two paths to two servers.
func (r *Rule) Takes(path []byte) bool {
	return r.keepsSlashes || !bytes.Contains(path, []byte(canonical.EscapedSlash))
}

// Target is one upstream of a Rule, with the timeouts that hold for requests of
// this rule to it: the route's over the upstream's over the defaults.
type Target struct {
	Upstream *Service
	Weight   int
	Timeouts ServiceTimeouts
}

// MirrorTarget gets copies of a share of a Rule's requests.
type MirrorTarget struct {
	Upstream *Service
	Percent  float64 // above 0, at most 100
}

// Field is a header field. Names are in lower case.
type Field struct {
	Name, Value string
	Parts       []Part // instead of Value, where it has placeholders; else nil
}

// HeaderEdit changes a header: first Remove, then Set, then Add. Names are in
// lower case; Set and Add are sorted by name.
type HeaderEdit struct {
	Set, Add []Field
	Remove   []string
}

// Response is a whole answer.
type Response struct {
	Status  int
	Body    []byte
	Headers []Field // sorted by name
}

// CORSRule is a CORS with its lists joined as they are sent.
type CORSRule struct {
	AnyOrigin     bool     // "*" is among the origins
	Origins       []string // exact, lower case
	Suffixes      []OriginSuffix
	Methods       string
	Headers       string
	ExposeHeaders string
	Credentials   bool
	MaxAge        time.Duration // below 0 = not sent
}

// OriginSuffix matches origins such as https://*.example.com.
type OriginSuffix struct {
	Scheme string // "https://"
	Suffix string // ".example.com", with the port if one was written
}

// LimitRule is a compiled Limit.
type LimitRule struct {
	Name  string
	Index int // place in Table.Limits, dense from 0
	Spec  *Limit

	N           int64         // events per Per; 0 and Per 0 = no rate
	Per         time.Duration // 1s, 1m, 1h, 24h
	Burst       int64
	Key         []KeyPart // none = one count for all
	Concurrency int       // in flight at once; 0 = no bound
	PerNode     bool      // scope: node
	AutoWait    bool      // Wait is for the limiter to choose
	Wait        time.Duration
	Isolated    float64 // part usable of what missing nodes had, 0..1
	OpenAlone   bool    // when_isolated: open
	XHeaders    bool    // x_ratelimit_headers
}

// KeyPart is one part of what a limit counts by.
type KeyPart struct {
	Kind   KeyKind
	Header string // for KeyHeader, lower case
}

// KeyKind is what a KeyPart is taken from.
type KeyKind uint8

// The parts of a limit's key.
const (
	KeyTenant KeyKind = iota
	KeyClientIP
	KeyHeader
	KeyRoute
)

// TenantRule is a compiled Tenant.
type TenantRule struct {
	Name        string
	Index       int // place in Table.Tenants, dense from 0
	Spec        *Tenant
	Priority    Priority
	HasPriority bool  // else the route's holds
	N           int64 // as in LimitRule
	Per         time.Duration
	Burst       int64
	Concurrency int
}

// Priority says who is shed first.
type Priority uint8

// Priorities, the last to be shed first.
const (
	Critical Priority = iota
	High
	Normal
	Low
)
