package kong

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meshgw/meshgw/routetable"
)

// plugins applies what is in force for a route: of each plugin the one nearest to
// it. It reports false where the route must be closed.
func (i *importer) plugins(s *service, from *route, to *routetable.Route) bool {
	var names []string
	nearest := map[string]*plugin{}
	scope := map[string]string{}
	take := func(where string, all []plugin, mine func(*plugin) bool) {
		for n := range all {
			p := &all[n]
			if p.Consumer != "" || !mine(p) {
				continue
			}
			if nearest[p.Name] == nil {
				names = append(names, p.Name)
			}
			nearest[p.Name], scope[p.Name] = p, where
		}
	}
	own := func(*plugin) bool { return true }
	take("global", i.from.Plugins, func(p *plugin) bool { return p.Service == "" && p.Route == "" })
	take(s.Name, s.Plugins, own)
	take(s.Name, i.from.Plugins, func(p *plugin) bool { return string(p.Service) == s.Name && p.Route == "" })
	take("route-"+to.Name, from.Plugins, own)
	take("route-"+to.Name, i.from.Plugins, func(p *plugin) bool { return from.Name != "" && string(p.Route) == from.Name })
	slices.Sort(names)
	for _, name := range names {
		if p := nearest[name]; !off(p.Enabled) && !i.plugin(p, scope[name], nearest, to) {
			return false
		}
	}
	return true
}

// plugin applies one plugin. It reports false where the route must be closed.
func (i *importer) plugin(p *plugin, scope string, all map[string]*plugin, to *routetable.Route) bool {
	object, err := "route/"+to.Name, error(nil)
	told := object // of what closes nothing, where it is written
	if !strings.HasPrefix(scope, "route-") {
		told = "plugins/" + scope
	}
	switch p.Name {
	case "rate-limiting":
		err = i.rateLimiting(p, scope, inForce(all["key-auth"]), to)
	case "key-auth":
		err = keyAuth(p, to)
	case "acl":
		err = i.acl(p, inForce(all["key-auth"]), to)
	case "cors":
		err = cors(p, to)
	case "ip-restriction":
		err = ipRestriction(p, to)
	case "request-size-limiting":
		err = sizeLimiting(p, to)
	case "request-termination":
		err = termination(p, to)
	case "request-transformer":
		to.RequestHeaders, err = i.transformer(p, told, to.RequestHeaders)
	case "response-transformer":
		to.ResponseHeaders, err = i.transformer(p, told, to.ResponseHeaders)
	case "prometheus": // metrics are always there
	case "correlation-id", "file-log", "http-log", "tcp-log", "udp-log", "syslog", "statsd", "datadog", "loggly", "zipkin", "opentelemetry", "proxy-cache", "response-ratelimiting":
		i.note(told, "plugin %s is not imported%s", p.Name, instead(p.Name))
	default:
		i.note(object, "answers 503: plugin %s may decide who is let in, and is not imported%s", p.Name, instead(p.Name))
		return false
	}
	if err != nil {
		i.note(object, "answers 503: plugin %s: %v", p.Name, err)
	}
	return err == nil
}

// instead says what to write by hand for a plugin.
func instead(name string) string {
	by := map[string]string{
		"jwt":                    "auth: [{jwt: {jwks: FILE or URL, algorithms: [RS256]}}]",
		"openid-connect":         "auth: [{jwt: ...}] for bearers, or auth: [{forward: {url: ...}}] to log in",
		"basic-auth":             "auth: [{basic: {file: FILE}}]",
		"mtls-auth":              "auth: [{mtls: {}}]",
		"ldap-auth":              "auth: [{forward: {url: ...}}]",
		"correlation-id":         "x-request-id is always there; for another name request_headers: {set: {NAME: ${request.id}}}",
		"opentelemetry":          "meshgw agent --otlp URL",
		"zipkin":                 "meshgw agent --otlp URL",
		"file-log":               "the log is on standard error",
		"http-log":               "the log is on standard error",
		"canary":                 "split",
		"rate-limiting-advanced": "limits",
	}[name]
	if by == "" {
		return ""
	}
	return ": instead, " + by
}

func inForce(p *plugin) bool { return p != nil && !off(p.Enabled) }

// acl keeps a route to the consumers of some groups.
func (i *importer) acl(p *plugin, identified bool, to *routetable.Route) error {
	var c struct{ Allow, Deny, Whitelist, Blacklist []string }
	if err := p.read(&c); err != nil {
		return err
	}
	allow, deny := append(c.Allow, c.Whitelist...), append(c.Deny, c.Blacklist...)
	if _, elsewhere := i.from.Rest["acls"]; elsewhere || !identified {
		return errors.New("it is known of consumers with keys and their own acls alone")
	}
	for n := range i.from.Consumers {
		c := &i.from.Consumers[n]
		if len(c.Keys) > 0 && (len(allow) == 0 || c.isOneOf(allow)) && !c.isOneOf(deny) {
			to.Tenants = append(to.Tenants, c.name())
		}
	}
	if len(to.Tenants) == 0 {
		return errors.New("it admits no consumer that has a key")
	}
	return nil
}

type rateLimiting struct {
	Second, Minute, Hour, Day, Month, Year int64
	LimitBy                                string `yaml:"limit_by"`
	HeaderName                             string `yaml:"header_name"`
}

// windows are the rates, the shortest first.
func (c *rateLimiting) windows() (all []routetable.Rate) {
	for _, w := range []routetable.Rate{{N: c.Second, Per: time.Second}, {N: c.Minute, Per: time.Minute}, {N: c.Hour, Per: time.Hour}, {N: c.Day, Per: 24 * time.Hour}} {
		if w.N > 0 {
			all = append(all, w)
		}
	}
	return all
}

// rateLimiting makes a limit of each window, shared by the routes of its scope.
func (i *importer) rateLimiting(p *plugin, scope string, identified bool, to *routetable.Route) error {
	var c rateLimiting
	if err := p.read(&c); err != nil {
		return err
	}
	if c.Month > 0 || c.Year > 0 {
		i.note("route/"+to.Name, "limits per month and year are not imported")
	}
	key := "none"
	switch by := cmp.Or(c.LimitBy, "consumer"); {
	case (by == "consumer" || by == "credential") && identified:
		key = "tenant"
	case by == "consumer", by == "credential", by == "ip":
		key = "client_ip"
	case by == "header":
		key = "header:" + strings.ToLower(c.HeaderName)
	case by != "service":
		i.note("route/"+to.Name, "limit_by %s: all count together", by)
	}
	for _, w := range c.windows() {
		name := scope + map[time.Duration]string{time.Second: "-per-second", time.Minute: "-per-minute", time.Hour: "-per-hour", 24 * time.Hour: "-per-day"}[w.Per]
		if key == "tenant" && scope == "global" {
			name += "-tenant" // where other routes of the scope know nobody
		}
		to.Limits = append(to.Limits, name)
		if !slices.ContainsFunc(i.spec.Limits, func(l routetable.Limit) bool { return l.Name == name }) {
			i.spec.Limits = append(i.spec.Limits, routetable.Limit{Name: name, Rate: new(w), Burst: new(w.N), Key: []string{key}})
		}
	}
	return nil
}

func keyAuth(p *plugin, to *routetable.Route) error {
	var c struct {
		KeyNames []string `yaml:"key_names"`
		Hide     bool     `yaml:"hide_credentials"`
	}
	if err := p.read(&c); err != nil {
		return err
	}
	if len(c.KeyNames) == 0 {
		c.KeyNames = []string{"apikey"}
	}
	for _, name := range c.KeyNames {
		to.Auth = append(to.Auth, routetable.Auth{APIKey: &routetable.APIKey{Header: name}})
	}
	to.RequestHeaders = &routetable.HeaderOps{Set: map[string]string{"x-consumer-username": "${tenant.name}"}} // as Kong tells
	if c.Hide {
		to.RequestHeaders.Remove = c.KeyNames
	}
	return nil
}

func cors(p *plugin, to *routetable.Route) error {
	var c struct {
		Origins, Methods, Headers []string
		ExposedHeaders            []string `yaml:"exposed_headers"`
		Credentials               bool
		MaxAge                    float64 `yaml:"max_age"`
	}
	if err := p.read(&c); err != nil {
		return err
	}
	if len(c.Origins) == 0 {
		c.Origins = []string{"*"}
	}
	if len(c.Methods) == 0 {
		c.Methods = []string{"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS"}
	}
	to.CORS = &routetable.CORS{Origins: c.Origins, Methods: c.Methods, Headers: c.Headers, ExposeHeaders: c.ExposedHeaders, Credentials: c.Credentials}
	if c.MaxAge > 0 {
		to.CORS.MaxAge = new(seconds(c.MaxAge))
	}
	return nil
}

func ipRestriction(p *plugin, to *routetable.Route) error {
	var c struct{ Allow, Deny, Whitelist, Blacklist []string }
	if err := p.read(&c); err != nil {
		return err
	}
	if allow := append(c.Allow, c.Whitelist...); len(allow) > 0 {
		to.Allow = &routetable.CIDRs{CIDRs: allow}
	}
	if deny := append(c.Deny, c.Blacklist...); len(deny) > 0 {
		to.Deny = &routetable.CIDRs{CIDRs: deny}
	}
	return nil
}

func sizeLimiting(p *plugin, to *routetable.Route) error {
	c := struct {
		Size int64  `yaml:"allowed_payload_size"`
		Unit string `yaml:"size_unit"`
	}{Size: 128}
	if err := p.read(&c); err != nil {
		return err
	}
	unit := map[string]int64{"": 1 << 20, "megabytes": 1 << 20, "kilobytes": 1 << 10, "bytes": 1}[c.Unit]
	to.MaxBody = new(routetable.Bytes(c.Size * unit))
	return nil
}

func termination(p *plugin, to *routetable.Route) error {
	c := struct {
		Status      int `yaml:"status_code"`
		Body        string
		Message     string
		ContentType string `yaml:"content_type"`
	}{Status: 503}
	if err := p.read(&c); err != nil {
		return err
	}
	to.Upstream, to.Rewrite = "", nil
	to.Respond = &routetable.Respond{Status: c.Status, Body: cmp.Or(c.Body, c.Message)}
	if c.ContentType != "" {
		to.Respond.Headers = map[string]string{"content-type": c.ContentType}
	}
	return nil
}

// edits is what one operation of a transformer is done to.
type edits struct {
	Headers, Querystring, Body, JSON []string
	URI                              string
}

// transformer takes what is done to headers. What Kong adds only where it is not
// there is set.
func (i *importer) transformer(p *plugin, object string, before *routetable.HeaderOps) (*routetable.HeaderOps, error) {
	var c struct{ Remove, Rename, Replace, Add, Append edits }
	if err := p.read(&c); err != nil {
		return nil, err
	}
	left := len(c.Rename.Headers)
	for _, e := range []edits{c.Remove, c.Rename, c.Replace, c.Add, c.Append} {
		left += len(e.Querystring) + len(e.Body) + len(e.JSON) + len(e.URI)
	}
	if left > 0 {
		i.note(object, "plugin %s: only what removes, sets and adds headers is imported", p.Name)
	}
	ops := &routetable.HeaderOps{
		Remove: c.Remove.Headers, Set: pairs(slices.Concat(c.Replace.Headers, c.Add.Headers)), Add: pairs(c.Append.Headers),
	}
	if before != nil {
		set := maps.Clone(before.Set)
		maps.Copy(set, ops.Set)
		ops.Set, ops.Remove = set, slices.Concat(before.Remove, ops.Remove)
	}
	return ops, nil
}

// pairs reads lines NAME:VALUE.
func pairs(lines []string) map[string]string {
	var all map[string]string
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		if all == nil {
			all = map[string]string{}
		}
		all[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	return all
}
