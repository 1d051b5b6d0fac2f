package routetable

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

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
