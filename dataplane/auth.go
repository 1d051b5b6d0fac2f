package dataplane

import (
	"errors"
	"runtime"
	"strconv"
	"time"

	"github.com/meshgw/meshgw/auth"
	"github.com/meshgw/meshgw/routetable"
)

// Credentials holds what clients are judged by and what files and issuers have.
// What it returns is filled and kept fresh behind the reader's back; before that,
// it admits nobody. It must be safe for concurrent use.
type Credentials interface {
	// Keys returns the public keys of a file or URL.
	Keys(source string) *auth.Keys
	// Users returns the users of a password file.
	Users(file string) *auth.Users
}

// liveAuth is who may use a rule.
type liveAuth struct {
	ways    []authenticator // any of admits; none = open
	copied  []string
	ask     []Field // challenges for a client that shows nothing
	invalid []Field // and for one that shows what does not hold
}

// authenticator is one way to be let in.
type authenticator interface {
	// admit returns nil if what the client shows is good, and has then set whose
	// request it is; else why not.
	admit(s *Server, x *Exchange) *refusal
	// challenge is the way's part of WWW-Authenticate (RFC 9110, section 11.6.1).
	challenge(invalid bool) string
}

// liveAuth makes the ways of a rule.
func (s *Server) liveAuth(r *routetable.Rule, p *plan) *liveAuth {
	a := &liveAuth{}
	for i := range r.Auth {
		w := s.authenticator(&r.Auth[i], p)
		a.ways = append(a.ways, w)
		a.ask = appendChallenge(a.ask, w.challenge(false))
		a.invalid = appendChallenge(a.invalid, w.challenge(true))
		if f := r.Auth[i].Forward; f != nil {
			a.copied = append(a.copied, f.CopyHeaders...)
		}
	}
	return a
}

func appendChallenge(fields []Field, challenge string) []Field {
	if challenge == "" {
		return fields
	}
	return own(fields, "www-authenticate", []byte(challenge))
}

func (s *Server) authenticator(a *routetable.Auth, p *plan) authenticator {
	switch {
	case a.JWT != nil:
		return s.tokenAuth(a.JWT)
	case a.APIKey != nil:
		return &keyAuth{header: a.APIKey.Header}
	case a.Basic != nil:
		w := &loginAuth{users: new(auth.Users)}
		if s.cfg.Credentials != nil {
			w.users = s.cfg.Credentials.Users(a.Basic.File)
		}
		return w
	case a.MTLS != nil:
		return certificateAuth{}
	}
	return &serviceAuth{asker: s.asker(a.Forward.URL, p), copied: a.Forward.CopyHeaders}
}

// authenticate lets a request pass that one of the rule's ways admits. It is part
// of admit, after what costs less and before anything is charged to a tenant.
func (s *Server) authenticate(x *Exchange) bool {
	a := x.rule.auth
	if x.preflight {
		return true // browsers send none with credentials (Fetch, section 4.8)
	}
	if len(a.ways) == 0 {
		s.identifyBy(x, x.Shown)
		return true
	}
	var why *refusal
	for _, w := range a.ways {
		r := w.admit(s, x)
		if r == nil {
			return true
		}
		if why == nil || r.says > why.says {
			why = r
		}
	}
	x.refused = why
	return false
}

// telling is how much a refusal says: of several, the client gets the first of
// those that say most.
type telling uint8

const (
	nothingShown telling = iota
	notValid
	notAdmitted
	notJudged // the client may be good, and cannot be judged now
)

// stranger refuses who shows nothing.
func (x *Exchange) stranger() *refusal {
	return &refusal{code: Unauthenticated, detail: "The route asks for credentials.", fields: x.rule.auth.ask}
}

// invalid refuses who shows what does not hold.
func (x *Exchange) invalid(detail string) *refusal {
	return &refusal{code: Unauthenticated, detail: detail, fields: x.rule.auth.invalid, says: notValid}
}

// unjudged refuses everybody, since nobody can be told from anybody.
func unjudged(detail string) *refusal {
	return &refusal{code: Unauthenticated, status: 503, detail: detail, fields: own(nil, "retry-after", []byte("1")), says: notJudged}
}

// identifyBy makes the request that of the tenant whose certificate c is.
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

// keyAuth admits the API keys of tenants.
type keyAuth struct{ header string }

func (w *keyAuth) admit(_ *Server, x *Exchange) *refusal {
	key, count := x.fieldsNamed(w.header)
	switch {
	case count == 0:
		return x.stranger()
	case count > 1:
		return x.invalid("The request has more than one API key.")
	}
	t := x.rule.plan.table.TenantByAPIKey(auth.HashKey(key))
	if t == nil {
		return x.invalid("The API key is not known.")
	}
	x.belongTo(t)
	return nil
}

func (w *keyAuth) challenge(bool) string {
	return `ApiKey realm="meshgw", header=` + strconv.Quote(w.header)
}

// authorization returns the one Authorization field.
func (x *Exchange) authorization() []byte {
	value, count := x.fieldsNamed("authorization")
	if count != 1 {
		return nil // of two, nobody knows which an upstream would take
	}
	return value
}

// tokenAuth admits bearers of tokens.
type tokenAuth struct {
	keys   *auth.Keys
	policy auth.Policy
}

func (s *Server) tokenAuth(j *routetable.JWT) *tokenAuth {
	w := &tokenAuth{keys: new(auth.Keys), policy: auth.Policy{Issuer: j.Issuer, Audience: j.Audience}}
	var err error
	if w.policy.Algorithms, err = auth.ParseAlgorithms(j.Algorithms); err != nil {
		w.policy.Algorithms = 0 // a table of a newer version: then none is accepted
	}
	if s.cfg.Credentials != nil {
		w.keys = s.cfg.Credentials.Keys(j.JWKS)
	}
	return w
}

func (w *tokenAuth) admit(s *Server, x *Exchange) *refusal {
	token, ok := auth.Bearer(x.authorization())
	if !ok {
		return x.stranger()
	}
	t, err := w.keys.Verify(s.cfg.Now(), token, &w.policy)
	switch {
	case err == nil:
		x.claim(t)
		return nil
	case errors.Is(err, auth.ErrNoKeys):
		return unjudged("The keys that tokens are verified by are not to be had yet.")
	case errors.Is(err, auth.ErrExpired):
		return x.invalid("The token has expired.")
	case errors.Is(err, auth.ErrNotYet):
		return x.invalid("The token is not valid yet.")
	case errors.Is(err, auth.ErrIssuer), errors.Is(err, auth.ErrAudience), errors.Is(err, auth.ErrType):
		return x.invalid("The token is for something else.")
	}
	return x.invalid("The token does not verify.")
}

func (w *tokenAuth) challenge(invalid bool) string {
	if invalid {
		return `Bearer realm="meshgw", error="invalid_token"`
	}
	return `Bearer realm="meshgw"`
}

// claim makes the request that of the tenant whom a claim of the token names.
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

// loginAuth admits names with their passwords.
type loginAuth struct{ users *auth.Users }

const (
	// checkWait is how long a login may wait for its turn to be checked.
	checkWait = time.Second
	// maxEncoded holds the longest login that is looked at.
	maxEncoded = 512
)

// checks is how many logins are checked at once: half of the CPUs, so that who
// guesses passwords cannot take them all, and no more than half a GiB of argon2id.
func checks() int { return min(max(1, runtime.GOMAXPROCS(0)/2), 8) }

func (w *loginAuth) admit(s *Server, x *Exchange) *refusal {
	if x.scratch.login == nil {
		x.scratch.login = make([]byte, 0, maxEncoded)
	}
	login, ok := auth.Basic(x.scratch.login, x.authorization())
	if !ok {
		return x.stranger()
	}
	verdict := w.users.Recall(login)
	if verdict == auth.NotSeen {
		if !s.takeCheck() {
			return &refusal{code: Overloaded, detail: "Too many logins wait to be checked.", says: notJudged}
		}
		defer func() { <-s.checking }()
		if verdict = w.users.Recall(login); verdict == auth.NotSeen && w.users.Check(login) { // another may have asked meanwhile
			verdict = auth.Admitted
		}
	}
	switch verdict {
	case auth.Admitted:
		return nil
	case auth.NoUsers:
		return unjudged("The passwords are not to be had yet.")
	case auth.NotSeen, auth.Refused:
	}
	return x.invalid("Name or password is wrong.")
}

// takeCheck takes a turn to check a login, if one comes in time.
func (s *Server) takeCheck() bool {
	timer := time.NewTimer(checkWait)
	defer timer.Stop()
	select {
	case s.checking <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

func (w *loginAuth) challenge(bool) string { return `Basic realm="meshgw", charset="UTF-8"` }

// certificateAuth admits certificates that the listener verified.
type certificateAuth struct{}

func (certificateAuth) admit(s *Server, x *Exchange) *refusal {
	switch {
	case x.shownAs != "" && x.shownAs != string(x.Host):
		// HTTP/2 clients use a connection for whatever hosts its certificate is
		// good for: what was shown for one says nothing to another.
		return &refusal{code: BadRequest, status: 421, detail: "The connection was opened for another host than the request's.", says: notAdmitted}
	case x.Shown == nil:
		return x.stranger()
	case !x.Shown.Valid(s.cfg.Now()):
		return x.invalid("The client's certificate has expired.")
	}
	s.identifyBy(x, x.Shown)
	return nil
}

// challenge names no registered scheme, since there is none for certificates.
func (certificateAuth) challenge(bool) string { return `ClientCertificate realm="meshgw"` }
