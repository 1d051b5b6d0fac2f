package routetable

import (
	"net/url"
	"slices"
	"strings"
)

func (v *validator) cidrs(at string, c *CIDRs) {
	if c == nil {
		return
	}
	if len(c.CIDRs) == 0 {
		v.errorf(at+".cidrs", "expected a network")
	}
	if !v.bounded(at+".cidrs", len(c.CIDRs)) {
		return
	}
	for i, text := range c.CIDRs {
		field := item(at+".cidrs", i)
		p, err := parsePrefix(text)
		if err != nil {
			v.errorf(field, "expected a network such as 10.0.0.0/8, got %q", text)
		} else if strings.Contains(text, "/") && p.String() != text && !strings.EqualFold(p.String(), text) {
			v.warnf(field, "%s has bits beyond its mask: %s is meant", text, p)
		}
	}
}

func (v *validator) auth(at string, a *Auth) {
	var given []string
	for _, way := range []struct {
		name string
		set  bool
	}{{"jwt", a.JWT != nil}, {"api_key", a.APIKey != nil}, {"basic", a.Basic != nil}, {"mtls", a.MTLS != nil}, {"forward", a.Forward != nil}} {
		if way.set {
			given = append(given, way.name)
		}
	}
	v.oneOf(at, given, "jwt", "api_key", "basic", "mtls", "forward")
	if a.JWT != nil {
		v.jwt(at+".jwt", a.JWT)
	}
	if a.APIKey != nil && a.APIKey.Header != "" {
		v.headerName(at+".api_key.header", a.APIKey.Header)
	}
	if a.Basic != nil && a.Basic.File == "" {
		v.errorf(at+".basic.file", "expected a file of name:hash lines")
	}
	if a.Forward != nil {
		v.forward(at+".forward", a.Forward)
	}
}

func (v *validator) forward(at string, f *ForwardAuth) {
	if !isWebURL(f.URL) {
		v.errorf(at+".url", "expected an http:// or https:// URL, got %q", f.URL)
	}
	if v.bounded(at+".copy_headers", len(f.CopyHeaders)) {
		for i, name := range f.CopyHeaders {
			v.editable(item(at+".copy_headers", i), name)
		}
	}
}

func (v *validator) jwt(at string, j *JWT) {
	switch {
	case j.JWKS == "":
		v.errorf(at+".jwks", "expected a file or URL of keys")
	case strings.Contains(j.JWKS, "://") && !isWebURL(j.JWKS):
		v.errorf(at+".jwks", "expected a file or an http:// or https:// URL, got %q", j.JWKS)
	}
	if len(j.Algorithms) == 0 {
		v.errorf(at+".algorithms", "expected the algorithms that are accepted, such as [ES256]")
	}
	if !v.bounded(at+".algorithms", len(j.Algorithms)) {
		return
	}
	known := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	for i, alg := range j.Algorithms {
		if !slices.Contains(known, alg) {
			v.errorf(item(at+".algorithms", i), "expected one of %s, got %q", strings.Join(known, ", "), alg)
		}
	}
}

func isWebURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && validHost(u.Hostname()) && u.Fragment == "" && u.User == nil // the table is shown to all who may read
}
