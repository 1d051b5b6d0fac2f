package routetable

import (
	"fmt"
	"maps"
	"net/url"
	"regexp/syntax"
	"slices"
	"strings"
)

func (v *validator) route(r *Route) {
	v.hosts(r.Hosts)
	if v.bounded("match", len(r.Match)) {
		for i := range r.Match {
			v.match(item("match", i), &r.Match[i])
		}
	}
	v.listeners(r.Listeners)
	if e := r.EncodedSlashes; e != "" && e != "reject" && e != "keep" {
		v.errorf("encoded_slashes", "expected reject or keep, got %q", e)
	}
	v.action(r)
	v.rewrite(r)
	v.headerOps("request_headers", r.RequestHeaders)
	v.headerOps("response_headers", r.ResponseHeaders)
	v.cidrs("allow", r.Allow)
	v.cidrs("deny", r.Deny)
	if _, known := priority(r.Priority); !known {
		v.errorf("priority", "expected %s, got %q", priorityWords, r.Priority)
	}
	v.limits(r.Limits)
	v.some("tenants", r.Tenants)
	v.bounded("tenants", len(r.Tenants))
	if v.bounded("auth", len(r.Auth)) {
		for i := range r.Auth {
			v.auth(item("auth", i), &r.Auth[i])
		}
	}
	v.cors(r.CORS)
	v.compress(r.Compress)
	v.respond(r.Respond)
	v.errorPages(r.ErrorPages)
	v.timeouts(r.Timeouts)
	if r.Timeouts != nil && r.Timeouts.Connect != nil {
		v.errorf("timeouts.connect", "is of upstreams only")
	}
	if r.MaxBody != nil && *r.MaxBody < 0 {
		v.errorf("max_body", "expected a size, got %d", *r.MaxBody)
	}
}

func (v *validator) hosts(hosts []string) {
	if !v.bounded("hosts", len(hosts)) {
		return
	}
	for i, host := range hosts {
		field := item("hosts", i)
		name := strings.TrimPrefix(host, "*.")
		if host != "*" && (!validHost(name) || strings.HasSuffix(name, ".")) {
			v.errorf(field, `expected "*", a host name or "*." and a host name, without port, got %q`, host)
		}
		if slices.ContainsFunc(hosts[:i], func(o string) bool { return strings.EqualFold(o, host) }) {
			v.warnf(field, "%s is there already", host)
		}
	}
}

func (v *validator) listeners(names []string) {
	if !v.bounded("listeners", len(names)) {
		return
	}
	for i, name := range names {
		if !IsName(name) {
			v.errorf(item("listeners", i), "expected the name of a listener, got %q", name)
		}
	}
}

func (v *validator) limits(names []string) {
	if !v.bounded("limits", len(names)) {
		return
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			v.errorf(item("limits", i), "%s is there already", name)
		}
	}
}

func (v *validator) match(at string, m *Match) {
	var given []string
	for _, way := range []struct{ name, value string }{{"path", m.Path}, {"path_prefix", m.PathPrefix}} {
		if way.value != "" {
			given = append(given, way.name)
			v.pathIn(at+"."+way.name, way.value)
		}
	}
	if m.PathRegex != "" {
		given = append(given, "path_regex")
		if why := regexFault(m.PathRegex); why != "" {
			v.errorf(at+".path_regex", "%s", why)
		}
	}
	if len(given) > 1 {
		v.oneOf(at, given, "path", "path_prefix", "path_regex")
	}
	v.methods(at+".methods", m.Methods)
	v.conditions(at+".headers", m.Headers, true)
	v.conditions(at+".query", m.Query, false)
}

// regexFault says what is wrong with a pattern; nothing is the empty string.
func regexFault(pattern string) string {
	if len(pattern) > maxRegex {
		return fmt.Sprintf("expected a pattern of at most %d bytes, got %d", maxRegex, len(pattern))
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return fmt.Sprintf("expected a regular expression of RE2: %v", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return fmt.Sprintf("expected a regular expression of RE2: %v", err)
	}
	if n := len(program.Inst); n > maxRegexSteps {
		return fmt.Sprintf("expected a pattern of at most %d steps, this one has %d", maxRegexSteps, n)
	}
	if _, _, err := pathRegex(pattern); err != nil {
		return fmt.Sprintf("expected a regular expression of RE2: %v", err)
	}
	return ""
}

func (v *validator) methods(at string, methods []string) {
	if !v.bounded(at, len(methods)) {
		return
	}
	for i, m := range methods {
		field := item(at, i)
		switch {
		case !isToken(m):
			v.errorf(field, "expected a method, got %q", m)
		case m != strings.ToUpper(m) && slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, strings.ToUpper(m)):
			v.errorf(field, "methods are case-sensitive: expected %s, got %q", strings.ToUpper(m), m)
		case slices.Contains(methods[:i], m):
			v.warnf(field, "%s is there already", m)
		}
	}
}

func (v *validator) conditions(at string, list []NameValue, headers bool) {
	if !v.bounded(at, len(list)) {
		return
	}
	seen := map[string]bool{}
	for i, nv := range list {
		field := item(at, i)
		name := nv.Name
		if headers {
			v.headerName(field+".name", name)
			name = strings.ToLower(name)
		} else if name == "" {
			v.errorf(field+".name", "expected the name of a query parameter")
		}
		if len(nv.Name)+len(nv.Value) > maxText {
			v.errorf(field, "expected at most %d bytes", maxText)
		}
		if seen[name] {
			v.warnf(field, "%s is there already: only the first counts", nv.Name)
		}
		seen[name] = true
	}
}

func (v *validator) headerOps(at string, ops *HeaderOps) {
	if ops == nil {
		return
	}
	for _, part := range []struct {
		name string
		m    map[string]string
	}{{"set", ops.Set}, {"add", ops.Add}} {
		if !v.bounded(at+"."+part.name, len(part.m)) {
			continue
		}
		seen := map[string]bool{}
		for _, name := range slices.Sorted(maps.Keys(part.m)) {
			field := at + "." + part.name + "." + name
			v.editable(field, name)
			v.fieldValue(field, part.m[name])
			v.placeholders(field, part.m[name], headerVariables())
			if lower := strings.ToLower(name); seen[lower] {
				v.errorf(field, "%s is there already in another case", name)
			} else {
				seen[lower] = true
			}
		}
	}
	if v.bounded(at+".remove", len(ops.Remove)) {
		for i, name := range ops.Remove {
			v.editable(item(at+".remove", i), name)
		}
	}
}

// editable refuses fields that frame the message: they are the gateway's own.
func (v *validator) editable(field, name string) {
	switch strings.ToLower(name) {
	case "host":
		v.errorf(field, "host is changed by rewrite.host")
	case "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length":
		v.errorf(field, "%s is the gateway's own", strings.ToLower(name))
	default:
		v.headerName(field, name)
	}
}

func (v *validator) cors(c *CORS) {
	if c == nil {
		return
	}
	if len(c.Origins) == 0 {
		v.errorf("cors.origins", "expected an origin")
	}
	if v.bounded("cors.origins", len(c.Origins)) {
		for i, o := range c.Origins {
			field := item("cors.origins", i)
			switch {
			case o == "*" && c.Credentials:
				v.errorf(field, "browsers refuse * together with credentials: name the origins")
			case o != "*" && !validOrigin(o):
				v.errorf(field, `expected "*" or an origin such as https://app.example.com or https://*.example.com, got %q`, o)
			}
		}
	}
	v.some("cors.methods", c.Methods)
	v.methods("cors.methods", c.Methods)
	for _, list := range []struct {
		name  string
		names []string
	}{{"headers", c.Headers}, {"expose_headers", c.ExposeHeaders}} {
		if v.bounded("cors."+list.name, len(list.names)) {
			for i, name := range list.names {
				v.headerName(fmt.Sprintf("cors.%s[%d]", list.name, i), name)
			}
		}
	}
}

func validOrigin(o string) bool {
	u, err := url.Parse(strings.Replace(o, "://*.", "://", 1))
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && validHost(u.Hostname()) &&
		u.Scheme+"://"+u.Host == strings.Replace(o, "://*.", "://", 1)
}

func (v *validator) compress(c *Compress) {
	if c == nil {
		return
	}
	v.some("compress.encodings", c.Encodings)
	v.some("compress.types", c.Types)
	if v.bounded("compress.encodings", len(c.Encodings)) {
		for i, e := range c.Encodings {
			if e != "zstd" && e != "gzip" {
				v.errorf(item("compress.encodings", i), "expected zstd or gzip, got %q", e)
			}
		}
	}
	v.upTo("compress.min_bytes", int64(c.MinBytes), 1<<30)
	if v.bounded("compress.types", len(c.Types)) {
		for i, t := range c.Types {
			major, minor, ok := strings.Cut(t, "/")
			if !ok || !isToken(major) || !isToken(minor) {
				v.errorf(item("compress.types", i), "expected a media type such as text/html or text/*, got %q", t)
			}
		}
	}
}
