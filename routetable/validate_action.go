package routetable

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// action checks that exactly one thing becomes of a request.
func (v *validator) action(r *Route) {
	var given []string
	for _, way := range []struct {
		name string
		set  bool
	}{{"upstream", r.Upstream != ""}, {"split", r.Split != nil}, {"redirect", r.Redirect != nil}, {"respond", r.Respond != nil}} {
		if way.set {
			given = append(given, way.name)
		}
	}
	v.oneOf("", given, "upstream", "split", "redirect", "respond")
	v.split(r.Split)
	proxied := r.Upstream != "" || r.Split != nil
	if m := r.Mirror; m != nil {
		if !proxied {
			v.errorf("mirror", "nothing is sent to an upstream that could be copied")
		}
		if !(m.Percent >= 0 && m.Percent <= 100) {
			v.errorf("mirror.percent", "expected 0 to 100, got %v", m.Percent)
		}
	}
}

func (v *validator) split(split []Split) {
	if split == nil || !v.bounded("split", len(split)) {
		return
	}
	total := 0
	for i, s := range split {
		field := item("split", i)
		v.between(field+".weight", int64(s.Weight), 0, maxWeight)
		total += s.Weight
		if slices.ContainsFunc(split[:i], func(o Split) bool { return o.Upstream == s.Upstream }) {
			v.errorf(field+".upstream", "%s is there already", s.Upstream)
		}
	}
	if total <= 0 {
		v.errorf("split", "expected a weight above 0")
	}
}

func (v *validator) rewrite(r *Route) {
	if w := r.Rewrite; w != nil {
		if r.Redirect != nil {
			v.errorf("rewrite", "cannot be combined with redirect")
		}
		if r.Respond != nil {
			v.errorf("rewrite", "cannot be combined with respond")
		}
		v.pathChange("rewrite", w.Path, w.PathPrefix)
		if w.PathPrefix != nil {
			v.prefixRewritten(r)
		}
		if w.Host != "" {
			v.hostPort("rewrite.host", w.Host)
		}
		if w.Path == "" && w.PathPrefix == nil && w.Host == "" {
			v.errorf("rewrite", "expected path, path_prefix or host")
		}
	}
	d := r.Redirect
	if d == nil {
		return
	}
	v.pathChange("redirect", d.Path, d.PathPrefix)
	for _, i := range notByPrefix(r) {
		if d.PathPrefix != nil {
			v.errorf("redirect.path_prefix", "match[%d] does not match by path_prefix", i)
		}
	}
	if d.Scheme != "" && d.Scheme != "http" && d.Scheme != "https" {
		v.errorf("redirect.scheme", "expected http or https, got %q", d.Scheme)
	}
	if d.Host != "" {
		v.host("redirect.host", d.Host)
	}
	v.upTo("redirect.port", int64(d.Port), 65535)
	if !slices.Contains([]int{0, 301, 302, 303, 307, 308}, d.Status) {
		v.errorf("redirect.status", "expected 301, 302, 303, 307 or 308, got %d", d.Status)
	}
	if d.Scheme == "" && d.Host == "" && d.Port == 0 && d.Path == "" && d.PathPrefix == nil {
		v.errorf("redirect", "would lead to itself: expected scheme, host, port, path or path_prefix")
	}
}

// prefixRewritten says which requests keep their path, since they were not matched
// by a prefix. Where none can be, the rewrite is a mistake.
func (v *validator) prefixRewritten(r *Route) {
	others := notByPrefix(r)
	say := v.warnf
	if len(others) > 0 && len(others) == len(r.Match) {
		say = v.errorf
	}
	for _, i := range others {
		say("rewrite.path_prefix", "match[%d] does not match by path_prefix, so its requests keep their path", i)
	}
}

// notByPrefix returns the matches of r by a whole path or a pattern.
func notByPrefix(r *Route) (all []int) {
	for i := range r.Match {
		if m := &r.Match[i]; m.Path != "" || m.PathRegex != "" {
			all = append(all, i)
		}
	}
	return all
}

// pathChange checks where a rewrite or redirect leads.
func (v *validator) pathChange(at, path string, prefix *string) {
	if path != "" {
		v.pathIn(at+".path", path)
	}
	if prefix == nil {
		return
	}
	if path != "" {
		v.oneOf(at, []string{"path", "path_prefix"}, "path", "path_prefix")
	}
	if *prefix != "" {
		v.pathIn(at+".path_prefix", *prefix)
	}
}

// hostPort checks what is sent as Host, which may have a port.
func (v *validator) hostPort(field, host string) {
	u, err := url.Parse("http://" + host)
	if err != nil || u.Host != host || !validHost(u.Hostname()) || strings.HasSuffix(host, ":") {
		v.errorf(field, "expected a host and maybe a port, got %q", host)
	}
}

func (v *validator) respond(r *Respond) {
	if r == nil {
		return
	}
	v.between("respond.status", int64(r.Status), 200, 599)
	if len(r.Body) > maxRespond {
		v.errorf("respond.body", "expected at most %d bytes, got %d", maxRespond, len(r.Body))
	}
	if r.Body != "" && (r.Status == 204 || r.Status == 304) {
		v.errorf("respond.body", "an answer %d has no body", r.Status)
	}
	if v.bounded("respond.headers", len(r.Headers)) {
		for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
			v.editable("respond.headers."+name, name)
			v.fieldValue("respond.headers."+name, r.Headers[name])
		}
	}
}
