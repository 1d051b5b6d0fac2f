package dataplane

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/quota"
)

// tokens are the cookie values of an upstream with sticky sessions: for each endpoint
// an HMAC of its URL with the mesh's secret. So all nodes use the same ones, whatever
// happens to the gossip keys, and nobody else can forge one or read an address from
// it.
type tokens struct {
	secret    *quota.Secret
	endpoints map[string]*endpoint
	names     map[*endpoint]string
}

const tokenBytes = 16 // of the HMAC; as many as the secret has

// tokens returns those of u, which are replaced when the mesh's secret changes.
func (s *Server) tokens(u *liveUpstream) *tokens {
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

// chooseSticky finds the endpoint that the client's cookie names, which also decides
// between the upstreams of a split.
func (s *Server) chooseSticky(x *Exchange) {
	for _, t := range x.rule.targets {
		if t.upstream.Sticky == nil {
			continue
		}
		if e := s.tokens(t.upstream).endpoints[string(x.cookie(t.upstream.Sticky.Cookie))]; e != nil {
			x.target, x.sticky = t, e
			return
		}
	}
}

// pickSticky returns the endpoint that the client's cookie names, or a gateway of its
// region; nil if that cannot take the request.
func (x *Exchange) pickSticky() *endpoint {
	e := x.sticky
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

// appendSticky appends the cookie for the endpoint that has answered, unless the
// client has it.
func (s *Server) appendSticky(fields []message.Field, x *Exchange) []message.Field {
	sticky := x.target.upstream.Sticky
	if sticky == nil || x.endpoint == x.sticky || x.endpoint.gateway != "" {
		return fields // the gateway that the request went through has added it
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
	return message.Append(fields, "set-cookie", value)
}

// secure reports whether the client speaks TLS, if need be according to trusted
// proxies before this node.
func (x *Exchange) secure() bool {
	proto, _ := message.Find(x.Fields, message.XForwardedProto)
	return x.Secure && x.from == nil || (x.trusted || x.from != nil) && string(proto) == "https"
}
