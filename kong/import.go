package kong

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/meshgw/meshgw/routetable"
)

// Note is something that the file says and the result does not.
type Note struct {
	Object string // service/orders, route/orders-v1
	Text   string
}

// String gives the note on one line.
func (n Note) String() string { return n.Object + ": " + n.Text }

// Import translates a declarative file. The result is not validated.
func Import(doc []byte) (*routetable.Spec, []Note, error) {
	f, err := read(doc)
	if err != nil {
		return nil, nil, err
	}
	i := &importer{from: f, spec: &routetable.Spec{}}
	for n := range f.Services {
		if s := &f.Services[n]; !off(s.Enabled) {
			i.service(s)
		}
	}
	for _, r := range f.Routes {
		if r.Service == "" {
			i.note("route/"+r.Name, "a route without a service is not imported")
		}
	}
	for n := range f.Consumers {
		i.consumer(&f.Consumers[n])
	}
	i.rest("file", f.Rest)
	return i.spec, i.notes, nil
}

type importer struct {
	from  *file
	spec  *routetable.Spec
	notes []Note
}

// note tells something, once.
func (i *importer) note(object, format string, args ...any) {
	if n := (Note{object, fmt.Sprintf(format, args...)}); !slices.Contains(i.notes, n) {
		i.notes = append(i.notes, n)
	}
}

// rest tells what an object says besides, but for what changes nothing here.
func (i *importer) rest(object string, r rest) {
	harmless := []string{
		"id", "tags", "created_at", "updated_at", "custom_id", "slots", // names and sizes of Kong's own
		"write_timeout", "request_buffering", "response_buffering", // bodies are streamed, as long as they move
	}
	for _, key := range slices.Sorted(maps.Keys(r)) {
		n := r[key]
		if strings.HasPrefix(key, "_") && key != "_plugin_configs" || slices.Contains(harmless, key) || n.Tag == "!!null" || len(n.Content) == 0 && n.Kind != yaml.ScalarNode || key == "path_handling" && n.Value == "v0" || n.Value == "0" {
			continue
		}
		i.note(object, "%s is not imported", key)
	}
}

// service makes an upstream of a service with what balances it, and its routes.
func (i *importer) service(s *service) {
	object := "service/" + s.Name
	if err := s.resolve(); err != nil {
		i.note(object, "not imported: %v", err)
		return
	}
	u := routetable.Upstream{Name: s.Name, Timeouts: timeouts(s)}
	i.rest(object, s.Rest)
	scheme := s.Protocol
	switch s.Protocol {
	case "http", "https":
	case "grpc":
		scheme, u.Protocol = "http", "h2c"
	case "grpcs":
		scheme, u.Protocol = "https", "h2"
	default:
		i.note(object, "not imported: protocol %s", s.Protocol)
		return
	}
	if s.Retries != nil {
		u.Retries = &routetable.Retries{Attempts: min(*s.Retries+1, 10), On: []string{"connect_failure", "reset", "stalled"}}
	}
	if off(s.TLSVerify) {
		i.note(object, "tls_verify: false: certificates are always verified here")
	}
	host := s.Host
	at := slices.IndexFunc(i.from.Upstreams, func(b upstream) bool { return b.Name == s.Host })
	if at < 0 {
		u.Endpoints = []routetable.Endpoint{{URL: endpointURL(scheme, net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), s.Path)}}
	} else {
		host = i.balance(&u, &i.from.Upstreams[at], scheme, s.Path)
	}
	i.spec.Upstreams = append(i.spec.Upstreams, u)
	for n := range s.Routes {
		i.route(s, &s.Routes[n], cmp.Or(s.Routes[n].Name, fmt.Sprintf("%s-%d", s.Name, n+1)), host)
	}
}

// resolve takes a service's url apart, and fills in Kong's defaults.
func (s *service) resolve() error {
	if s.URL != "" {
		u, err := url.Parse(s.URL)
		if err != nil {
			return err
		}
		s.Protocol, s.Host, s.Path = u.Scheme, u.Hostname(), u.Path
		if s.Port, _ = strconv.Atoi(u.Port()); s.Port == 0 && (u.Scheme == "https" || u.Scheme == "grpcs") {
			s.Port = 443
		}
	}
	s.Protocol, s.Port = cmp.Or(s.Protocol, "http"), cmp.Or(s.Port, 80)
	if s.Host == "" {
		return errors.New("no host")
	}
	return nil
}

func endpointURL(scheme, hostport, path string) string {
	return scheme + "://" + hostport + strings.TrimRight(path, "/")
}

// kongTimeout is Kong's default, of an answer and of all else.
const kongTimeout = 60_000

// timeouts are those of Kong: it bounds a try, not all of them together. How long
// to connect it leaves to a minute; that is taken over where somebody wrote it.
func timeouts(s *service) *routetable.Timeouts {
	t := &routetable.Timeouts{Response: milliseconds(cmp.Or(s.ReadTimeout, kongTimeout)), Request: milliseconds(0)}
	if s.ConnectTimeout > 0 && s.ConnectTimeout != kongTimeout {
		t.Connect = milliseconds(s.ConnectTimeout)
	}
	return t
}

func milliseconds(n int) *routetable.Duration {
	return new(routetable.Duration(time.Duration(n) * time.Millisecond))
}

// balance fills in what a Kong upstream says, and returns the Host that its
// targets are sent; empty where that is the client's.
func (i *importer) balance(u *routetable.Upstream, from *upstream, scheme, path string) (host string) {
	object := "upstream/" + from.Name
	i.rest(object, from.Rest)
	var last string
	for _, t := range from.Targets {
		hostport := t.Target
		if _, _, err := net.SplitHostPort(hostport); err != nil {
			hostport = net.JoinHostPort(strings.Trim(hostport, "[]"), "8000") // Kong's default
		}
		last, _, _ = net.SplitHostPort(hostport)
		u.Endpoints = append(u.Endpoints, routetable.Endpoint{URL: endpointURL(scheme, hostport, path), Weight: t.Weight})
	}
	u.Balance = &routetable.Balance{Policy: "round_robin"}
	switch from.Algorithm {
	case "", "round-robin":
	case "least-connections":
		u.Balance.Policy = "least_request"
	case "latency":
		u.Balance.Policy = "ewma"
	case "consistent-hashing":
		if u.Balance.Hash = hash(from); u.Balance.Hash != nil {
			u.Balance.Policy = "consistent_hash"
			break
		}
		i.note(object, "hash_on %s: round_robin instead", cmp.Or(from.HashOn, "none"))
	default:
		i.note(object, "algorithm %s: round_robin instead", from.Algorithm)
	}
	if a := &from.Healthchecks.Active; a.Healthy.Interval > 0 || a.Unhealthy.Interval > 0 {
		every := cmp.Or(a.Unhealthy.Interval, a.Healthy.Interval)
		u.HealthCheck = &routetable.HealthCheck{
			Path: cmp.Or(a.HTTPPath, "/"), Interval: seconds(every), Timeout: seconds(min(a.Timeout, every)),
			UnhealthyAfter: a.Unhealthy.HTTPFailures, HealthyAfter: a.Healthy.Successes,
		}
	}
	if from.HostHeader != "" || len(from.Targets) == 1 {
		return cmp.Or(from.HostHeader, last)
	}
	i.note(object, "targets are sent the client's Host, not each its own: give host_header")
	return ""
}

func hash(from *upstream) *routetable.Hash {
	switch from.HashOn {
	case "ip":
		return &routetable.Hash{ClientIP: true}
	case "header":
		return &routetable.Hash{Header: from.HashOnHeader}
	case "cookie":
		return &routetable.Hash{Cookie: from.HashOnCookie}
	case "path":
		return &routetable.Hash{Path: true}
	}
	return nil
}

func seconds(s float64) routetable.Duration {
	return routetable.Duration(time.Duration(s * float64(time.Second)))
}

// mostMatches bounds what one route of Kong's becomes.
const mostMatches = 1000

// route makes a route, and one that redirects to HTTPS where Kong would do that.
func (i *importer) route(s *service, from *route, name, host string) {
	object := "route/" + name
	i.rest(object, from.Rest)
	if from.Expression != "" {
		i.note(object, "not imported: it matches by an expression")
		return
	}
	ways := 1
	for _, values := range from.Headers {
		ways = min(ways*len(values), mostMatches+1) // of one value each
	}
	if ways*max(1, len(from.Paths)) > mostMatches {
		i.note(object, "not imported: its paths and headers make more than %d matches", mostMatches)
		return
	}
	to := routetable.Route{Name: name, Hosts: i.hosts(object, from.Hosts), Match: i.matches(object, from), Upstream: s.Name}
	if len(from.SNIs) > 0 && len(from.Hosts) == 0 {
		i.note(object, "snis are taken as hosts")
		to.Hosts = i.hosts(object, from.SNIs)
	}
	if len(from.Hosts)+len(from.SNIs) > 0 && len(to.Hosts) == 0 {
		i.note(object, "not imported: it would be for every host")
		return
	}
	rewrite := routetable.Rewrite{}
	if strips(from) && slices.ContainsFunc(to.Match, func(m routetable.Match) bool { return len(m.PathPrefix) > 1 }) {
		rewrite.PathPrefix = new("/")
	}
	if strips(from) && slices.ContainsFunc(to.Match, func(m routetable.Match) bool { return m.PathRegex != "" }) {
		i.note(object, "strip_path: paths that are patterns are kept whole")
	}
	if !from.PreserveHost {
		rewrite.Host = host
	}
	if rewrite != (routetable.Rewrite{}) {
		to.Rewrite = &rewrite
	}
	if !i.plugins(s, from, &to) { // closed, so that no wider route opens what it guards
		to = routetable.Route{Name: name, Hosts: to.Hosts, Match: to.Match, Respond: &routetable.Respond{Status: 503, Body: "not imported\n"}}
	}
	i.spec.Routes = append(i.spec.Routes, i.listen(from, &to)...)
}

func strips(r *route) bool { return !off(r.StripPath) }

// listen keeps a route to the listeners of its protocols.
func (i *importer) listen(from *route, to *routetable.Route) []routetable.Route {
	secure, plain := len(from.Protocols) == 0, len(from.Protocols) == 0
	for _, p := range from.Protocols {
		secure = secure || p == "https" || p == "grpcs"
		plain = plain || p == "http" || p == "grpc"
	}
	switch {
	case secure && !plain:
		to.Listeners = []string{"https"}
	case plain && !secure:
		to.Listeners = []string{"http"}
	}
	if plain || from.RedirectHTTPS < 300 || from.RedirectHTTPS > 399 {
		return []routetable.Route{*to}
	}
	return []routetable.Route{*to, {
		Name: to.Name + "-to-https", Hosts: to.Hosts, Match: to.Match, Listeners: []string{"http"},
		Redirect: &routetable.Redirect{Scheme: "https", Status: from.RedirectHTTPS},
	}}
}

func (i *importer) hosts(object string, hosts []string) (all []string) {
	for _, h := range hosts {
		name := h
		if host, _, err := net.SplitHostPort(h); err == nil {
			name = host
		}
		if strings.HasSuffix(name, ".*") {
			i.note(object, "host %s: wildcards are at the front only, so it is left out", h)
			continue
		}
		all = append(all, name)
	}
	return all
}

// matches is each path with each way that the headers may be.
func (i *importer) matches(object string, from *route) (all []routetable.Match) {
	headers := i.headers(object, from.Headers)
	paths := from.Paths
	if len(paths) == 0 {
		paths = []string{""}
	}
	for _, path := range paths {
		m := routetable.Match{Methods: from.Methods}
		if pattern, ok := i.pattern(path); ok {
			m.PathRegex = pattern
		} else {
			m.PathPrefix = path
		}
		for _, h := range headers {
			m.Headers = h
			all = append(all, m)
		}
	}
	if len(all) == 1 && all[0].PathPrefix == "" && all[0].PathRegex == "" && len(all[0].Methods)+len(all[0].Headers) == 0 {
		return nil // every request
	}
	return all
}

// pattern translates a path that is one, which Kong matches from its start on and
// meshgw as a whole.
func (i *importer) pattern(path string) (string, bool) {
	pattern, ok := strings.CutPrefix(path, "~")
	old := strings.HasPrefix(i.from.Version, "1.") || strings.HasPrefix(i.from.Version, "2.")
	if !ok && (!old || !strings.ContainsAny(path, `\()[]{}*+?|^$`)) {
		return "", false
	}
	pattern = strings.TrimPrefix(pattern, "^")
	if whole, ok := strings.CutSuffix(pattern, "$"); ok && !strings.HasSuffix(whole, `\`) {
		return whole, true
	}
	return pattern + ".*", true
}

// headers is every combination of the values that headers may have.
func (i *importer) headers(object string, from map[string][]string) [][]routetable.NameValue {
	all := [][]routetable.NameValue{nil}
	for _, name := range slices.Sorted(maps.Keys(from)) {
		var next [][]routetable.NameValue
		for _, value := range from[name] {
			if strings.HasPrefix(value, "~*") {
				i.note(object, "header %s: patterns are not matched, the value is taken as it stands", name)
			}
			for _, before := range all {
				next = append(next, append(slices.Clone(before), routetable.NameValue{Name: name, Value: value}))
			}
		}
		all = next
	}
	return all
}

func (c *consumer) name() string { return cmp.Or(c.Username, c.CustomID) }

// consumer makes a tenant that is known by its keys.
func (i *importer) consumer(c *consumer) {
	t := routetable.Tenant{Name: c.name()}
	if len(c.Keys) == 0 {
		i.note("consumer/"+t.Name, "not imported: it has no keyauth_credentials")
		return
	}
	i.rest("consumer/"+t.Name, c.Rest)
	t.Identify = &routetable.Identify{}
	for _, k := range c.Keys {
		sum := sha256.Sum256([]byte(k.Key))
		t.Identify.APIKeySHA256 = append(t.Identify.APIKeySHA256, hex.EncodeToString(sum[:]))
	}
	for _, p := range c.Plugins {
		i.tenantLimit(&t, &p)
	}
	for _, p := range i.from.Plugins {
		if string(p.Consumer) == t.Name && p.Service == "" && p.Route == "" {
			i.tenantLimit(&t, &p)
		}
	}
	i.spec.Tenants = append(i.spec.Tenants, t)
}

func (i *importer) tenantLimit(t *routetable.Tenant, p *plugin) {
	var c rateLimiting
	if off(p.Enabled) {
		return
	}
	if err := p.read(&c); p.Name != "rate-limiting" || err != nil || len(c.windows()) == 0 {
		i.note("consumer/"+t.Name, "plugin %s is not imported", p.Name)
		return
	}
	first := c.windows()[0]
	if t.Limits != nil || len(c.windows()) > 1 {
		i.note("consumer/"+t.Name, "of several rates one is imported: a tenant has one")
	}
	t.Limits = &routetable.TenantLimits{Rate: &first, Burst: new(first.N)}
}
