package admin

import (
	"cmp"
	"context"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/api"
)

// guard lets through who may ask. A bearer token decides alone where one is
// sent, and a client certificate where none is, unless another origin's page has the
// browser show it. Without either, only loopback is believed, and there only what no
// web page and no proxy can have caused: Host a loopback name (against DNS
// rebinding), no trace of a proxy, Origin and Sec-Fetch-Site absent or the listener's
// own. With open, anybody is.
func guard(tokens Tokens, open bool, log zerolog.Logger, next http.Handler) http.Handler {
	log = auditRefused(log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, p := identify(tokens, open, r)
		if p == nil {
			p = mayWrite(who, r)
		}
		if p != nil {
			if p.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			log.Warn().Str("by", by(who, r)).Str("method", r.Method).Str("path", r.URL.Path).Int("status", p.Status).Msg("admin request refused")
			refuse(w, p)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, by(who, r))))
	})
}

type callerKey struct{}

// by identifies the caller: NAME@ADDRESS.
func by(who Token, r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return cmp.Or(who.Name, "unknown") + "@" + host
}

// caller identifies the caller: the name of the token that r came with, or
// how else it was let in.
func caller(r *http.Request) string {
	name, _ := r.Context().Value(callerKey{}).(string)
	return name
}

func identify(tokens Tokens, open bool, r *http.Request) (Token, *api.Problem) {
	if header := r.Header.Get("Authorization"); header != "" && len(tokens) > 0 {
		scheme, given, _ := strings.Cut(header, " ")
		if t, ok := tokens.find(strings.TrimSpace(given)); ok && strings.EqualFold(scheme, "Bearer") {
			return t, nil
		}
		return Token{}, api.NewProblem(http.StatusUnauthorized, "unknown token")
	}
	shown, certified := tokens.shown(r.TLS)
	switch {
	case !ownOrigin(r) || !ownSite(r):
		return Token{}, api.NewProblem(http.StatusForbidden, "asked by another origin's page")
	case certified:
		return shown, nil
	case open:
		return Token{Name: "anybody", Role: RoleWrite}, nil
	case onLoopback(r) && straight(r):
		return Token{Name: "local", Role: RoleWrite}, nil
	case isPage(r) && len(tokens) > 0: // which asks for one
		return Token{Name: "page", Role: RoleRead}, nil
	case onLoopback(r) && len(tokens) == 0:
		return Token{}, api.NewProblem(http.StatusForbidden, "without a token only this machine may ask, as localhost and through no proxy")
	case isProbe(r):
		return Token{Name: "probe", Role: RoleRead}, nil
	}
	return Token{}, api.NewProblem(http.StatusUnauthorized, "this listener asks for a token or a certificate")
}

// isProbe reports whether r asks for a yes or no that tells nothing else: those
// who orchestrate hold no token.
func isProbe(r *http.Request) bool {
	return reads(r) && (r.URL.Path == "/healthz" || r.URL.Path == "/readyz")
}

// onLoopback reports whether r came over this machine's loopback interface.
func onLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && loopbackHost(addr.String()) && loopbackHost(r.RemoteAddr)
}

// straight reports whether r is meant for loopback and has met no proxy.
func straight(r *http.Request) bool {
	for name := range r.Header {
		if name == "Via" || name == "Forwarded" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") {
			return false
		}
	}
	return loopbackHost(r.Host)
}

// loopbackHost reports whether hostport, the port optional, is a loopback name.
func loopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// ownOrigin reports whether a browser, if there is one, shows our own page.
func ownOrigin(r *http.Request) bool {
	all := r.Header.Values("Origin")
	return len(all) == 0 || len(all) == 1 && (all[0] == "http://"+r.Host || all[0] == "https://"+r.Host)
}

// ownSite reports whether it is not another origin's page that has a browser ask.
// An image or a script of such a page comes without Origin, but with this (W3C Fetch
// Metadata). A link to our own page may be followed from anywhere.
func ownSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return true
	}
	return isPage(r) && r.Header.Get("Sec-Fetch-Mode") == "navigate"
}

// reads reports whether r changes nothing.
func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// mayWrite refuses a change by who may only read.
func mayWrite(who Token, r *http.Request) *api.Problem {
	if reads(r) || who.Role == RoleWrite {
		return nil
	}
	return api.NewProblem(http.StatusForbidden, "token %s may only read", who.Name)
}

// typed refuses a change whose content type a web form can send without asking.
// One with neither a body nor a type is no form's, and script has to show its Origin.
func typed(change http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if bare := r.ContentLength == 0 && r.Header["Content-Type"] == nil; !bare && !isDocument(r) {
			refuse(w, api.NewProblem(http.StatusUnsupportedMediaType, "want content type application/json or application/yaml"))
			return
		}
		change(w, r)
	}
}

func isDocument(r *http.Request) bool {
	switch media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media {
	case "application/json", "application/yaml", "application/x-yaml", "text/yaml":
		return true
	}
	return false
}
