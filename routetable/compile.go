package routetable

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"iter"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meshgw/meshgw/crdt"
)

// The defaults of a route file.
const (
	defaultWeight         = 100
	defaultConnect        = 500 * time.Millisecond
	defaultResponse       = 15 * time.Second
	defaultRequest        = 30 * time.Second
	defaultIdle           = 5 * time.Minute
	defaultFailures       = 5
	defaultOpenFor        = 30 * time.Second
	defaultMaxEjected     = 50
	defaultAttempts       = 2
	defaultRetryBudget    = 20
	defaultMaxConnections = 512
	defaultMaxPending     = 1024
	defaultMaxBody        = 10 << 20
	defaultMinCompress    = 1024
	defaultIsolated       = 0.5
)

// Compile makes spec ready to serve. It gives the same table whatever the order
// of spec's objects. An object with an error of its own is left out of the
// table; a route whose upstream is missing is in it, and Broken. The problems
// are those of Validate. spec must not change afterwards.
func Compile(spec *Spec) (*Table, Problems) {
	problems := Validate(spec)
	sound := spec.sorted(faulty(problems))
	return new(Table).Next(sound, crdt.Stamp{}, Digest(canonicalJSON(sound))), problems
}

// compiler builds one Table. What old has of the same objects is taken from it.
type compiler struct {
	*Table
	old *Table

	// What most rules have, held once.
	alone map[string][]Target // of one upstream, with its timeouts
	none  *conditions
}

// Next compiles the table that comes after t, of objects that have passed the checks
// of their own fields, each kind sorted by name. What t has of the same objects is
// taken from it: they never change, so what was made of one holds in every table
// where what it refers to is the same. stamp and digest are what the methods of those
// names return.
func (t *Table) Next(o Objects, stamp crdt.Stamp, digest string) *Table {
	c := compiler{
		Table: &Table{
			stamp: stamp, digest: digest,
			serviceByName: make(map[string]*Service, len(o.Upstreams)), limitByName: make(map[string]*LimitRule, len(o.Limits)),
			rules: make([]*Rule, 0, len(o.Routes)),
		},
		old: t, alone: make(map[string][]Target, len(o.Upstreams)), none: new(conditions),
	}
	for _, u := range o.Upstreams {
		s := t.serviceByName[u.Name]
		if s == nil || s.Spec != u {
			s = service(u)
		}
		c.services = append(c.services, s)
		c.serviceByName[u.Name] = s
		c.alone[u.Name] = []Target{{s, defaultWeight, s.Timeouts}}
	}
	for i, l := range o.Limits {
		r := t.limitByName[l.Name]
		if r == nil || r.Spec != l || r.Index != i {
			r = limitRule(l)
			r.Index = i
		}
		c.limits = append(c.limits, r)
		c.limitByName[l.Name] = r
	}
	for i, tenant := range o.Tenants {
		r := tenantRule(tenant)
		r.Index = i
		c.tenants = append(c.tenants, r)
	}
	c.tenantBy = indexTenants(c.tenants)
	c.access = accessRule(o.Access)
	changed := c.makeRules(o.Routes, o.Stamps)
	c.hosts = indexHosts(c.rules, changed, t.hosts)
	return c.Table
}

// makeRules takes the rules that old has over, makes the others, and returns those
// that only one of the tables has. Both lists are sorted by name.
func (c *compiler) makeRules(routes []*Route, stamps []crdt.Stamp) (changed []*Rule) {
	old := c.old.rules
	for i, route := range routes {
		for len(old) > 0 && old[0].Name < route.Name {
			changed, old = append(changed, old[0]), old[1:]
		}
		if len(old) > 0 && old[0].Spec == route && c.resolvesAlike(route) {
			c.rules, old = append(c.rules, old[0]), old[1:]
			continue
		}
		r := c.rule(route)
		r.Index = -1
		if stamps != nil {
			r.Stamp = stamps[i]
		}
		c.rules, changed = append(c.rules, r), append(changed, r)
	}
	c.number()
	return append(changed, old...)
}

// number gives each rule without an index one that no other has. Those of the old
// table keep theirs.
func (c *compiler) number() {
	taken := make([]bool, max(len(c.rules), c.old.places))
	for _, r := range c.rules {
		if r.Index >= 0 {
			taken[r.Index] = true
		}
	}
	free := 0
	for _, r := range c.rules {
		if r.Index < 0 {
			for taken[free] {
				free++
			}
			r.Index = free
			free++
		}
		c.places = max(c.places, r.Index+1)
	}
}

// resolvesAlike reports whether all that a route refers to is as in the old table.
func (c *compiler) resolvesAlike(r *Route) bool {
	upstream := func(name string) bool { return c.serviceByName[name] == c.old.serviceByName[name] }
	return upstream(r.Upstream) && (r.Mirror == nil || upstream(r.Mirror.Upstream)) &&
		!slices.ContainsFunc(r.Split, func(s Split) bool { return !upstream(s.Upstream) }) &&
		!slices.ContainsFunc(r.Limits, func(name string) bool { return c.limitByName[name] != c.old.limitByName[name] })
}

// faulty returns the objects that have errors. What refers to a missing object has
// none of its own.
func faulty(problems Problems) map[ID]bool {
	bad := map[ID]bool{}
	for i := range problems {
		if p := &problems[i]; p.Severity == Error && p.Object != "" && !p.between {
			bad[ParseID(p.Object)] = true
		}
	}
	return bad
}

// Digest returns the Table.Digest of objects, each with its canonical JSON, by kind as
// in a route file, then by name.
func Digest(objects iter.Seq2[ID, []byte]) string {
	h := sha256.New()
	var content []byte
	for id, data := range objects {
		content = AppendContent(content[:0], id.Kind, id.Name, data)
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func canonicalJSON(objects Objects) iter.Seq2[ID, []byte] {
	return func(yield func(ID, []byte) bool) {
		for o := range objects.All {
			data, err := json.Marshal(o)
			if err != nil {
				panic("routetable: " + err.Error()) // plain data, always written
			}
			if !yield(o.ID(), data) {
				return
			}
		}
	}
}

func service(u *Upstream) *Service {
	protocol, _ := upstreamProtocol(u.Protocol)
	s := &Service{
		Name: u.Name, Spec: u,
		Endpoints: make([]Address, 0, len(u.Endpoints)),
		Protocol:  protocol,
		Failover:  true, Breaker: true,
		ConsecutiveFailures: defaultFailures,
		OpenFor:             defaultOpenFor,
		MaxEjectedPercent:   defaultMaxEjected,
		Timeouts:            timeouts(u.Timeouts, ServiceTimeouts{defaultConnect, defaultResponse, defaultRequest, defaultIdle}),
		MaxConnections:      cmp.Or(u.MaxConnections, defaultMaxConnections),
		MaxPending:          or(u.MaxPending, defaultMaxPending),
		Check:               healthCheck(u.HealthCheck),
	}
	for i := range u.Endpoints {
		a, err := parseAddress(u.Endpoints[i].URL)
		if err != nil {
			continue
		}
		a.Region, a.Weight = u.Endpoints[i].Region, or(u.Endpoints[i].Weight, defaultWeight)
		s.Endpoints = append(s.Endpoints, a)
	}
	if b := u.Balance; b != nil {
		s.Balance, _ = balancePolicy(b.Policy)
		s.Sticky = sticky(b.Sticky)
		s.Hash.ClientIP = b.Hash == nil && s.Balance == ConsistentHash
		if b.Hash != nil {
			s.Hash = *b.Hash
			s.Hash.Header = strings.ToLower(s.Hash.Header)
		}
	}
	if f := u.Failover; f != nil {
		s.Failover, s.Regions, s.Direct = or(f.Enabled, true), f.Regions, f.Via == "direct"
	}
	if u.TLS != nil {
		s.TLS = *u.TLS
	}
	if b := u.CircuitBreaker; b != nil {
		s.Breaker = or(b.Enabled, true)
		s.ConsecutiveFailures = cmp.Or(b.ConsecutiveFailures, defaultFailures)
		s.OpenFor = cmp.Or(time.Duration(b.OpenFor), defaultOpenFor)
	}
	if u.Outlier != nil {
		s.MaxEjectedPercent = or(u.Outlier.MaxEjectedPercent, defaultMaxEjected)
	}
	s.Attempts, s.RetryOn, s.RetryBudget = retries(u.Retries)
	return s
}

func sticky(s *Sticky) *Sticky {
	if s == nil {
		return nil
	}
	return &Sticky{Cookie: cmp.Or(s.Cookie, "meshgw-sticky"), MaxAge: s.MaxAge, SameSite: cmp.Or(s.SameSite, "lax")}
}

func retries(r *Retries) (attempts int, on RetryOn, budget int) {
	const usual = RetryConnectFailure | RetryReset | RetryStalled | Retry502 | Retry503 | Retry504
	if r == nil {
		return defaultAttempts, usual, defaultRetryBudget
	}
	for _, name := range r.On {
		bit, _ := retryOn(name)
		on |= bit
	}
	if r.On == nil {
		on = usual
	}
	return cmp.Or(r.Attempts, defaultAttempts), on, or(r.BudgetPercent, defaultRetryBudget)
}

func healthCheck(h *HealthCheck) *HealthCheck {
	if h == nil {
		return nil
	}
	return &HealthCheck{
		Path:           h.Path,
		GRPC:           h.GRPC,
		Interval:       cmp.Or(h.Interval, Duration(2*time.Second)),
		Timeout:        cmp.Or(h.Timeout, Duration(time.Second)),
		UnhealthyAfter: cmp.Or(h.UnhealthyAfter, 3),
		HealthyAfter:   cmp.Or(h.HealthyAfter, 2),
	}
}

// timeouts returns what t says over what base says.
func timeouts(t *Timeouts, base ServiceTimeouts) ServiceTimeouts {
	if t == nil {
		return base
	}
	return ServiceTimeouts{
		Connect:  time.Duration(or(t.Connect, Duration(base.Connect))),
		Response: time.Duration(or(t.Response, Duration(base.Response))),
		Request:  time.Duration(or(t.Request, Duration(base.Request))),
		Idle:     time.Duration(or(t.Idle, Duration(base.Idle))),
	}
}

func limitRule(l *Limit) *LimitRule {
	r := &LimitRule{
		Name: l.Name, Spec: l,
		Concurrency: l.Concurrency,
		PerNode:     l.Scope == "node",
		Isolated:    defaultIsolated,
		OpenAlone:   l.WhenIsolated == "open",
		XHeaders:    or(l.XHeaders, true),
	}
	r.N, r.Per, r.Burst = rate(l.Rate, l.Burst)
	for _, text := range l.Key {
		if part, ok := keyPart(text); ok && text != "none" {
			r.Key = append(r.Key, part)
		}
	}
	r.Wait, r.AutoWait, _ = limitWait(l.Wait)
	if part, err := strconv.ParseFloat(l.WhenIsolated, 64); err == nil {
		r.Isolated = part
	}
	return r
}

// rate returns the parameters of a bucket. Without a burst it holds a second's
// worth, at least 1; for rates per hour and day the whole N.
func rate(r *Rate, burst *int64) (n int64, per time.Duration, size int64) {
	if r == nil {
		return 0, 0, 0
	}
	size = max(1, r.N/int64(r.Per/time.Second))
	if r.Per >= time.Hour {
		size = max(1, r.N)
	}
	return r.N, r.Per, or(burst, size)
}

func tenantRule(t *Tenant) *TenantRule {
	r := &TenantRule{Name: t.Name, Spec: t, HasPriority: t.Priority != ""}
	r.Priority, _ = priority(t.Priority)
	if t.Limits != nil {
		r.N, r.Per, r.Burst = rate(t.Limits.Rate, t.Limits.Burst)
		r.Concurrency = t.Limits.Concurrency
	}
	return r
}

func (c *compiler) rule(route *Route) *Rule {
	r := &Rule{
		Name: route.Name, Spec: route,
		RequestHeaders:  headerEdit(route.RequestHeaders),
		ResponseHeaders: headerEdit(route.ResponseHeaders),
		Allow:           prefixes(route.Allow),
		Deny:            prefixes(route.Deny),
		Auth:            auth(route.Auth),
		Tenants:         slices.Sorted(slices.Values(route.Tenants)),
		MaxBody:         int64(or(route.MaxBody, Bytes(defaultMaxBody))),
		CORS:            corsRule(route.CORS),
		Compress:        compress(route.Compress),
		Respond:         response(route.Respond),
		errorPages:      errorPages(route.ErrorPages),
		keepsSlashes:    route.EncodedSlashes == "keep",
	}
	r.Priority, _ = priority(route.Priority)
	if w := route.Rewrite; w != nil {
		r.RewriteHost = w.Host
		r.rewritePath, r.rewriteTo = pathRewrite(w.Path, w.PathPrefix)
	}
	if d := route.Redirect; d != nil {
		r.Redirect = new(*d)
		r.Redirect.Status = cmp.Or(d.Status, 302)
		r.rewritePath, r.rewriteTo = pathRewrite(d.Path, d.PathPrefix)
	}
	c.resolve(r)
	r.hosts, r.candidates = hostsOf(route), c.candidates(r)
	return r
}

// resolve looks up what a rule refers to.
func (c *compiler) resolve(r *Rule) {
	var missing []string
	target := func(name string, weight int) {
		s := c.serviceByName[name]
		if s == nil {
			missing = append(missing, "upstream "+strconv.Quote(name))
			return
		}
		if weight > 0 {
			r.Targets = append(r.Targets, Target{s, weight, timeouts(r.Spec.Timeouts, s.Timeouts)})
			r.Weight += weight
		}
	}
	if alone := c.alone[r.Spec.Upstream]; alone != nil && r.Spec.Timeouts == nil {
		r.Targets, r.Weight = alone, defaultWeight
	} else if r.Spec.Upstream != "" {
		target(r.Spec.Upstream, defaultWeight)
	}
	for _, s := range r.Spec.Split {
		target(s.Upstream, s.Weight)
	}
	for _, name := range r.Spec.Limits {
		if l := c.limitByName[name]; l != nil {
			r.Limits = append(r.Limits, l)
		} else {
			missing = append(missing, "limit "+strconv.Quote(name))
		}
	}
	if m := r.Spec.Mirror; m != nil {
		// A copy that cannot be sent is no reason to refuse the request.
		if s := c.serviceByName[m.Upstream]; s != nil && m.Percent > 0 {
			r.Mirror = &MirrorTarget{s, m.Percent}
		}
	}
	if len(missing) > 0 {
		r.Broken = strings.Join(missing, " and ") + " not found"
	}
}

func headerEdit(ops *HeaderOps) *HeaderEdit {
	if ops == nil {
		return nil
	}
	e := &HeaderEdit{Set: withParts(fields(ops.Set)), Add: withParts(fields(ops.Add))}
	for _, name := range ops.Remove {
		e.Remove = append(e.Remove, strings.ToLower(name))
	}
	return e
}

// withParts takes values apart at their placeholders.
func withParts(all []Field) []Field {
	for i := range all {
		all[i].Parts, all[i].Value, _ = parts(all[i].Value, headerVariables())
	}
	return all
}

func fields(m map[string]string) []Field {
	var out []Field
	for name, value := range m {
		out = append(out, Field{Name: strings.ToLower(name), Value: value})
	}
	slices.SortFunc(out, func(a, b Field) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
	})
	return out
}

func prefixes(c *CIDRs) []netip.Prefix {
	if c == nil {
		return nil
	}
	out := make([]netip.Prefix, 0, len(c.CIDRs))
	for _, text := range c.CIDRs {
		if p, err := parsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}

var errMapped = errors.New("a network of IPv4 in the form of IPv6")

// parsePrefix reads a network, or an address as the network of itself.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if p.Addr().Is4In6() {
		return netip.Prefix{}, errMapped // it would hold nobody: clients of IPv4 are known as such
	}
	return p.Masked(), err
}

func auth(list []Auth) []Auth {
	out := slices.Clone(list)
	for i := range out {
		if k := out[i].APIKey; k != nil {
			out[i].APIKey = &APIKey{Header: strings.ToLower(cmp.Or(k.Header, "x-api-key"))}
		}
		if f := out[i].Forward; f != nil {
			out[i].Forward = &ForwardAuth{URL: f.URL, CopyHeaders: slices.Clone(f.CopyHeaders)}
			for j, name := range f.CopyHeaders {
				out[i].Forward.CopyHeaders[j] = strings.ToLower(name)
			}
		}
	}
	return out
}

// response returns the answer of a route. A body that nobody says the type of is text.
func response(r *Respond) *Response {
	if r == nil {
		return nil
	}
	headers := fields(r.Headers)
	typed := slices.ContainsFunc(headers, func(f Field) bool { return f.Name == "content-type" })
	if r.Body != "" && !typed {
		headers = append(headers, Field{Name: "content-type", Value: "text/plain; charset=utf-8"})
	}
	return &Response{Status: cmp.Or(r.Status, 200), Body: []byte(r.Body), Headers: headers}
}

func corsRule(c *CORS) *CORSRule {
	if c == nil {
		return nil
	}
	methods := c.Methods
	if len(methods) == 0 {
		methods = []string{"GET", "HEAD", "POST"}
	}
	r := &CORSRule{
		Methods:       strings.Join(methods, ", "),
		Headers:       strings.Join(c.Headers, ", "),
		ExposeHeaders: strings.Join(c.ExposeHeaders, ", "),
		Credentials:   c.Credentials,
		MaxAge:        time.Duration(or(c.MaxAge, -1)),
	}
	for _, o := range c.Origins {
		o = strings.ToLower(o)
		switch scheme, suffix, wild := strings.Cut(o, "*"); {
		case o == "*":
			r.AnyOrigin = true
		case wild:
			r.Suffixes = append(r.Suffixes, OriginSuffix{scheme, suffix})
		default:
			r.Origins = append(r.Origins, o)
		}
	}
	return r
}

func compress(c *Compress) *Compress {
	if c == nil {
		return nil
	}
	out := &Compress{Encodings: c.Encodings, MinBytes: cmp.Or(c.MinBytes, defaultMinCompress), Types: c.Types}
	if len(out.Encodings) == 0 {
		out.Encodings = []string{"zstd", "gzip"}
	}
	if len(out.Types) == 0 {
		out.Types = []string{
			"text/*", "application/json", "application/*+json", "application/javascript",
			"application/xml", "application/*+xml", "application/wasm", "image/svg+xml",
		}
	}
	return out
}

// srvPrefix before the scheme of an endpoint says that it is found by SRV records,
// as in --join.
const srvPrefix = "dnssrv+"

// parseAddress reads the URL of an endpoint: http or https, a host, a port if
// it is not the scheme's own, and a path to put before every request's.
func parseAddress(text string) (Address, error) {
	plain, srv := strings.CutPrefix(text, srvPrefix)
	u, err := url.Parse(plain)
	if err != nil || srv && u.Port() != "" {
		return Address{}, errAddress
	}
	port := schemePort(u.Scheme)
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return Address{}, errAddress
		}
	}
	host := u.Hostname()
	ok := (u.Scheme == "http" || u.Scheme == "https") && validHost(host) && u.User == nil &&
		u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && !strings.HasSuffix(u.Host, ":") &&
		!strings.Contains(u.Path, "//")
	if !ok {
		return Address{}, errAddress
	}
	return Address{
		URL:      strings.TrimRight(text, "/"),
		SRV:      srv,
		TLS:      u.Scheme == "https",
		HostPort: joinHostPort(host, port),
		Host:     host,
		Port:     port,
		BasePath: strings.TrimRight(u.EscapedPath(), "/"),
	}, nil
}

func joinHostPort(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}

// or returns *p, or otherwise what is the default.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
