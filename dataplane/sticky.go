package dataplane

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"github.com/meshgw/meshgw/quota"
)

// tokens are what the cookies of an upstream with sticky sessions hold: for each
// endpoint its name under the mesh's secret. So all nodes give and take the same,
// whatever happens to the gossip keys, and nobody else can make one or read an
// address from it.
type tokens struct {
	secret    *quota.Secret
	endpoints map[string]*endpoint
	names     map[*endpoint]string
}

const tokenBytes = 16 // of the HMAC, as many as the secret has

// tokens returns those of u, made anew where the mesh's secret has become known.
func (s *Server) tokens(u *upstream) *tokens {
	secret := s.cfg.Secret()
	if t := u.tokens.Load(); t != nil && t.secret == secret {
		return t
	}
	t := &tokens{secret: secret, endpoints: map[string]*endpoint{}, names: map[*endpoint]string{}}
	for _, e := range u.endpoints {
		h := hmac.New(sha256.New, secret[:])
		_, _ = h.Write([]byte("sticky\x00" + u.Name + "\x00" + e.address.URL)) // never fails
		name := base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:tokenBytes])
		t.endpoints[name], t.names[e] = e, name
	}
	u.tokens.Store(t)
	return t
}

// stick finds the endpoint that the client's cookie names. It also decides among
// the upstreams of a split.
func (s *Server) stick(x *Exchange) {
	for _, t := range x.rule.targets {
		if t.upstream.Sticky == nil {
			continue
		}
		if e := s.tokens(t.upstream).endpoints[string(x.cookie(t.upstream.Sticky.Cookie))]; e != nil {
			x.target, x.stuck = t, e
			return
		}
	}
}

// pickStuck returns the endpoint that the client's cookie names, or the way to its
// region, unless it cannot take the request.
func (x *Exchange) pickStuck() *endpoint {
	e := x.stuck
	switch {
	case e == nil, slices.Contains(x.scratch.tried, e.state), e.address.Weight == 0:
	case e.near, x.target.upstream.Direct:
		if e.broken == "" && e.state.Usable() {
			return e
		}
	case x.from == nil:
		d := x.target.upstream.division.Load()
		for i := range d.ways {
			if d.ways[i].open && d.ways[i].region == e.address.Region {
				return d.ways[i].pick(time.Now(), x.key(), x.scratch.tried)
			}
		}
	}
	return nil
}

// appendSticky appends the cookie for the endpoint that has answered, where the
// client has not got it.
func (s *Server) appendSticky(fields []Field, x *Exchange) []Field {
	sticky := x.target.upstream.Sticky
	if sticky == nil || x.endpoint == x.stuck || x.endpoint.gateway != "" {
		return fields // the node that it went through has said it
	}
	value := append([]byte(sticky.Cookie), '=')
	value = append(append(value, s.tokens(x.target.upstream).names[x.endpoint]...), "; Path=/; HttpOnly; SameSite="...)
	value = append(value, sticky.SameSite...)
	if x.secure() {
		value = append(value, "; Secure"...)
	}
	if age := time.Duration(sticky.MaxAge); age > 0 {
		value = strconv.AppendInt(append(value, "; Max-Age="...), int64(age/time.Second), 10)
	}
	return own(fields, "set-cookie", value)
}

// secure reports whether the client speaks TLS, by the word of those before this
// node that are believed.
func (x *Exchange) secure() bool {
	proto, _ := find(x.Fields, fieldXForwardedProto)
	return x.Secure && x.from == nil || (x.trusted || x.from != nil) && string(proto) == "https"
}
