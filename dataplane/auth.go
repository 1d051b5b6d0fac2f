package dataplane

import (
	"errors"
	"runtime"
	"strconv"
	"time"

	"github.com/meshgw/meshgw/auth"
	"github.com/meshgw/meshgw/dataplane/message"
	"github.com/meshgw/meshgw/routetable"
)

// Credentials provides keys and users that are read from files and from
// issuers, and kept up to date in the background. Before they have been read,
// they admit nobody. It must be safe for concurrent use.
type Credentials interface {
	// Keys returns the public keys of a file or URL.
	Keys(source string) *auth.Keys
	// Users returns the users of a password file.
	Users(file string) *auth.Users
}

// liveAuth is the authentication of a rule.
type liveAuth struct {
	methods []authenticator // one of them has to admit; none = open
	copied  []string
	missing []message.Field // challenges for a request without credentials
	invalid []message.Field // challenges for one with wrong credentials
}

// authenticator is one method of authentication.
type authenticator interface {
	// admit returns nil if the credentials are valid, after setting the tenant of
	// the request; else the refusal.
	admit(s *Server, x *Exchange) *refusal
	// challenge returns the method's part of WWW-Authenticate (RFC 9110, section
	// 11.6.1).
	challenge(invalid bool) string
}

// liveAuth makes the authentication of a rule.
func (s *Server) liveAuth(r *routetable.Rule, p *plan) *liveAuth {
	a := &liveAuth{}
	for i := range r.Auth {
		w := s.authenticator(&r.Auth[i], p)
		a.methods = append(a.methods, w)
		a.missing = appendChallenge(a.missing, w.challenge(false))
		a.invalid = appendChallenge(a.invalid, w.challenge(true))
		if f := r.Auth[i].Forward; f != nil {
			a.copied = append(a.copied, f.CopyHeaders...)
		}
	}
	return a
}

func appendChallenge(fields []message.Field, challenge string) []message.Field {
	if challenge == "" {
		return fields
	}
	return message.Append(fields, "www-authenticate", []byte(challenge))
}

func (s *Server) authenticator(a *routetable.Auth, p *plan) authenticator {
	switch {
	case a.JWT != nil:
		return s.jwtAuth(a.JWT)
	case a.APIKey != nil:
		return &apiKeyAuth{header: a.APIKey.Header}
	case a.Basic != nil:
		w := &basicAuth{users: new(auth.Users)}
		if s.cfg.Credentials != nil {
			w.users = s.cfg.Credentials.Users(a.Basic.File)
		}
		return w
	case a.MTLS != nil:
		return mtlsAuth{}
	}
	return &forwardAuth{service: s.authService(a.Forward.URL, p), copied: a.Forward.CopyHeaders}
}

// authenticate admits a request that one of the rule's methods admits. It runs
// after the cheaper checks of admit, and before anything is charged to a
// tenant.
func (s *Server) authenticate(x *Exchange) bool {
	a := x.rule.auth
	if x.preflight {
		return true // browsers send none with credentials (Fetch, section 4.8)
	}
	if len(a.methods) == 0 {
		s.identifyBy(x, x.ClientCert)
		return true
	}
	var why *refusal
	for _, w := range a.methods {
		r := w.admit(s, x)
		if r == nil {
			return true
		}
		if why == nil || r.rank > why.rank {
			why = r
		}
	}
	x.refused = why
	return false
}

// refusalRank orders refusals by how specific they are: of those of several
// methods, the client gets the first of the highest rank.
type refusalRank uint8

const (
	noCredentials refusalRank = iota
	badCredentials
	notAllowed
	undecided // the credentials may be valid, but cannot be checked now
)

// unauthenticated refuses a request without credentials.
func (x *Exchange) unauthenticated() *refusal {
	return &refusal{code: Unauthenticated, detail: "The route asks for credentials.", fields: x.rule.auth.missing}
}

// invalidCredentials refuses a request with wrong credentials.
func (x *Exchange) invalidCredentials(detail string) *refusal {
	return &refusal{code: Unauthenticated, detail: detail, fields: x.rule.auth.invalid, rank: badCredentials}
}

// authUnavailable refuses a request whose credentials cannot be checked at the
// moment.
func authUnavailable(detail string) *refusal {
	return &refusal{code: Unauthenticated, status: 503, detail: detail, fields: message.Append(nil, "retry-after", []byte("1")), rank: undecided}
}

// identifyBy sets the tenant of the request by certificate c, which may be nil.
func (s *Server) identifyBy(x *Exchange, c *auth.Certificate) {
	if c == nil || !c.Valid(s.cfg.Now()) {
		return
	}
	for _, name := range c.Names() {
		if t := x.rule.plan.table.TenantBySAN(name); t != nil {
			x.belongTo(t)
			return
		}
	}
}

// apiKeyAuth admits the API keys of tenants.
type apiKeyAuth struct{ header string }

func (w *apiKeyAuth) admit(_ *Server, x *Exchange) *refusal {
	key, count := x.fieldsNamed(w.header)
	switch {
	case count == 0:
		return x.unauthenticated()
	case count > 1:
		return x.invalidCredentials("The request has more than one API key.")
	}
	t := x.rule.plan.table.TenantByAPIKey(auth.HashKey(key))
	if t == nil {
		return x.invalidCredentials("The API key is not known.")
	}
	x.belongTo(t)
	return nil
}

func (w *apiKeyAuth) challenge(bool) string {
	return `ApiKey realm="meshgw", header=` + strconv.Quote(w.header)
}

// authorization returns the value of Authorization, nil if the request does not
// have exactly one.
func (x *Exchange) authorization() []byte {
	value, count := x.fieldsNamed("authorization")
	if count != 1 {
		return nil // with two, an upstream might take the other one
	}
	return value
}

// jwtAuth admits bearer tokens (JWT).
type jwtAuth struct {
	keys   *auth.Keys
	policy auth.Policy
}

func (s *Server) jwtAuth(j *routetable.JWT) *jwtAuth {
	w := &jwtAuth{keys: new(auth.Keys), policy: auth.Policy{Issuer: j.Issuer, Audience: j.Audience}}
	var err error
	if w.policy.Algorithms, err = auth.ParseAlgorithms(j.Algorithms); err != nil {
		w.policy.Algorithms = 0 // a table of a newer version: then none is accepted
	}
	if s.cfg.Credentials != nil {
		w.keys = s.cfg.Credentials.Keys(j.JWKS)
	}
	return w
}

func (w *jwtAuth) admit(s *Server, x *Exchange) *refusal {
	token, ok := auth.Bearer(x.authorization())
	if !ok {
		return x.unauthenticated()
	}
	t, err := w.keys.Verify(s.cfg.Now(), token, &w.policy)
	switch {
	case err == nil:
		x.claim(t)
		return nil
	case errors.Is(err, auth.ErrNoKeys):
		return authUnavailable("The keys that tokens are verified by are not to be had yet.")
	case errors.Is(err, auth.ErrExpired):
		return x.invalidCredentials("The token has expired.")
	case errors.Is(err, auth.ErrNotYet):
		return x.invalidCredentials("The token is not valid yet.")
	case errors.Is(err, auth.ErrIssuer), errors.Is(err, auth.ErrAudience), errors.Is(err, auth.ErrType):
		return x.invalidCredentials("The token is for something else.")
	}
	return x.invalidCredentials("The token does not verify.")
}

func (w *jwtAuth) challenge(invalid bool) string {
	if invalid {
		return `Bearer realm="meshgw", error="invalid_token"`
	}
	return `Bearer realm="meshgw"`
}

// claim sets the tenant of the request by the claims of its token.
func (x *Exchange) claim(t *auth.Token) {
	table := x.rule.plan.table
	for _, name := range table.TenantClaims() {
		for _, value := range t.Claim(name) {
			if owner := table.TenantByClaim(name, value); owner != nil {
				x.belongTo(owner)
				return
			}
		}
	}
}

// basicAuth admits user names with their passwords (HTTP Basic).
type basicAuth struct{ users *auth.Users }

const (
	// checkWait is how long a request may wait for its password to be checked.
	checkWait = time.Second
	// maxEncoded is the length of the longest credentials that are decoded.
	maxEncoded = 512
)

// maxPasswordChecks is how many passwords are checked at once: on half of the
// CPUs, so that guessing passwords cannot take all of them, and 8 at most,
// which bounds the memory of argon2id to half a GiB.
func maxPasswordChecks() int { return min(max(1, runtime.GOMAXPROCS(0)/2), 8) }

func (w *basicAuth) admit(s *Server, x *Exchange) *refusal {
	if x.scratch.login == nil {
		x.scratch.login = make([]byte, 0, maxEncoded)
	}
	login, ok := auth.Basic(x.scratch.login, x.authorization())
	if !ok {
		return x.unauthenticated()
	}
	verdict := w.users.Recall(login)
	if verdict == auth.NotSeen {
		if !s.acquirePasswordCheck() {
			return &refusal{code: Overloaded, detail: "Too many logins wait to be checked.", rank: undecided}
		}
		defer func() { <-s.passwordChecks }()
		if verdict = w.users.Recall(login); verdict == auth.NotSeen && w.users.Check(login) { // another request may have checked it meanwhile
			verdict = auth.Admitted
		}
	}
	switch verdict {
	case auth.Admitted:
		return nil
	case auth.NoUsers:
		return authUnavailable("The passwords are not to be had yet.")
	case auth.NotSeen, auth.Refused:
	}
	return x.invalidCredentials("Name or password is wrong.")
}

// acquirePasswordCheck waits for its turn to check a password, for checkWait at
// most, and reports whether it came.
func (s *Server) acquirePasswordCheck() bool {
	timer := time.NewTimer(checkWait)
	defer timer.Stop()
	select {
	case s.passwordChecks <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

func (w *basicAuth) challenge(bool) string { return `Basic realm="meshgw", charset="UTF-8"` }

// mtlsAuth admits client certificates that the listener has verified.
type mtlsAuth struct{}

func (mtlsAuth) admit(s *Server, x *Exchange) *refusal {
	switch {
	case x.sni != "" && x.sni != string(x.Host):
		// HTTP/2 clients reuse a connection for whatever hosts its certificate is
		// good for: what was shown for one says nothing to another.
		return &refusal{code: BadRequest, status: 421, detail: "The connection was opened for another host than the request's.", rank: notAllowed}
	case x.ClientCert == nil:
		return x.unauthenticated()
	case !x.ClientCert.Valid(s.cfg.Now()):
		return x.invalidCredentials("The client's certificate has expired.")
	}
	s.identifyBy(x, x.ClientCert)
	return nil
}

// challenge names no registered scheme, since there is none for certificates.
func (mtlsAuth) challenge(bool) string { return `ClientCertificate realm="meshgw"` }
