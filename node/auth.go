package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/auth"
	"github.com/meshgw/meshgw/dataplane"
	"github.com/meshgw/meshgw/internal/files"
	"github.com/meshgw/meshgw/node/config"
	"github.com/meshgw/meshgw/node/datadir"
	"github.com/meshgw/meshgw/routetable"
)

const (
	refreshKeys  = 10 * time.Minute // of an issuer, plus up to a tenth
	missedKeys   = 30 * time.Second // at least, between fetches that a token's unknown key asks for
	retryKeys    = time.Second      // after the first failure, then twice as long
	retryKeysMax = time.Minute
	lookAtFiles  = 2 * time.Second
	fetchTimeout = 10 * time.Second
)

// credentials keeps what clients are authenticated by: the key sets of issuers and
// password files. What was loaded once stays in use while its file is missing or its
// issuer down; until it is loaded, its routes admit nobody.
type credentials struct {
	dir    *datadir.Dir
	log    zerolog.Logger
	fetch  func(ctx context.Context, address string) ([]byte, error)
	secret [32]byte
	soon   chan struct{}

	dropped chan struct{} // there are copies to be removed
	copying sync.Mutex    // held while copies are written or removed, never inside mu: a disk may hang

	mu      sync.Mutex // guards the rest
	sources map[string]*credential
	stale   map[string]bool // copies that are to be removed
}

var _ dataplane.Credentials = (*credentials)(nil)

// credential is one file or URL.
type credential struct {
	place string
	keys  *auth.Keys  // or
	users *auth.Users // this

	mu       sync.Mutex // guards the rest
	fetching bool
	fetched  time.Time // tried last
	due      time.Time // of a URL
	failures int
	err      error       // why the last try brought nothing
	seen     os.FileInfo // of a file: as it was when it was read
}

// newCredentials returns empty ones. control reports the addresses that neither a
// route nor the URL of a key set may reach.
func newCredentials(dir *datadir.Dir, control func(netip.AddrPort) bool, log zerolog.Logger) *credentials {
	c := &credentials{dir: dir, log: log, fetch: newFetcher(control), soon: make(chan struct{}, 1), dropped: make(chan struct{}, 1), sources: map[string]*credential{}, stale: map[string]bool{}}
	_, _ = rand.Read(c.secret[:]) // never fails
	return c
}

// Keys implements dataplane.Credentials.
func (c *credentials) Keys(source string) *auth.Keys {
	return c.source("keys "+source, &credential{place: source, keys: new(auth.Keys)}).keys
}

// Users implements dataplane.Credentials.
func (c *credentials) Users(file string) *auth.Users {
	return c.source("users "+file, &credential{place: file, users: new(auth.Users)}).users
}

// source returns the credential of that name, adding it if it is new. A file is read
// at once; of a URL there may be a copy from an earlier run.
func (c *credentials) source(name string, fresh *credential) *credential {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sources[name]; s != nil {
		return s
	}
	c.sources[name] = fresh
	if !fresh.isURL() {
		c.lookAt(fresh)
		return fresh
	}
	if u, err := url.Parse(fresh.place); err == nil && u.Scheme == "http" && !config.Loopback(net.JoinHostPort(u.Hostname(), "80")) {
		c.log.Warn().Str("source", fresh.shown()).Msg("keys are fetched in clear: who can change the answer can sign tokens")
	}
	if data, err := c.dir.Read(fresh.copyName()); err == nil && data != nil && !c.stale[fresh.copyName()] {
		if err := c.take(fresh, data); err != nil {
			c.dir.SetAside(fresh.copyName(), err)
		}
	}
	c.wake()
	return fresh
}

func (c *credentials) wake() {
	select {
	case c.soon <- struct{}{}:
	default:
	}
}

// keep drops what table does not name, with its copy on disk: keys that no route uses
// any more must not come back with another route.
func (c *credentials) keep(table *routetable.Table) {
	used := map[string]bool{}
	for _, rule := range table.Rules() {
		for _, a := range rule.Auth {
			if a.JWT != nil {
				used["keys "+a.JWT.JWKS] = true
			}
			if a.Basic != nil {
				used["users "+a.Basic.File] = true
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, s := range c.sources {
		if used[name] {
			continue
		}
		delete(c.sources, name)
		if s.isURL() {
			c.stale[s.copyName()] = true
			signal(c.dropped)
		}
	}
}

// keepClean removes the copies that are needed no more, until ctx ends, and then once
// more.
func (c *credentials) keepClean(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.dropped:
		}
		c.clean()
	}
}

func (c *credentials) clean() {
	c.copying.Lock()
	defer c.copying.Unlock()
	c.mu.Lock()
	stale := slices.Collect(maps.Keys(c.stale))
	c.mu.Unlock()
	for _, name := range stale {
		c.dir.Remove(name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range stale {
		delete(c.stale, name)
	}
}

// lacks says what rule needs of this node and is not loaded yet.
func (c *credentials) lacks(rule *routetable.Rule) []string {
	var all []string
	for _, a := range rule.Auth {
		name := ""
		switch {
		case a.JWT != nil:
			name = "keys " + a.JWT.JWKS
		case a.Basic != nil:
			name = "users " + a.Basic.File
		default:
			continue
		}
		c.mu.Lock()
		s := c.sources[name]
		c.mu.Unlock()
		if s == nil || s.ready() {
			continue
		}
		all = append(all, fmt.Sprintf("auth admits nobody by %s: %v", s.shown(), cmp.Or(s.trouble(), errNotRead)))
	}
	return all
}

var errNotRead = errors.New("not read yet")

func (s *credential) ready() bool {
	if s.users != nil {
		return s.users.Ready()
	}
	return s.keys.Ready()
}

func (s *credential) trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// shown is the place as it may be told: the query of a URL may hold a secret.
func (s *credential) shown() string {
	place, _, asked := strings.Cut(s.place, "?")
	if asked && s.isURL() {
		return place + "?..."
	}
	return s.place
}

func (s *credential) isURL() bool { return s.keys != nil && strings.Contains(s.place, "://") }

// copyName is the file of the data dir that holds what a URL gave last.
func (s *credential) copyName() string {
	sum := sha256.Sum256([]byte(s.place))
	return "jwks-" + hex.EncodeToString(sum[:8]) + ".json"
}

// take parses data and puts it into use.
func (c *credentials) take(s *credential, data []byte) error {
	if s.users != nil {
		p, err := auth.ParsePasswords(data)
		if err == nil {
			s.users.Set(p, c.secret)
		}
		return err
	}
	set, err := auth.ParseKeySet(data)
	if err == nil {
		s.keys.Set(set)
	}
	return err
}

// run keeps everything fresh until ctx ends.
func (c *credentials) run(ctx context.Context) {
	var fetches sync.WaitGroup
	defer fetches.Wait()
	fetches.Go(func() { c.keepClean(ctx) })
	tick := time.NewTicker(lookAtFiles)
	defer tick.Stop()
	for {
		for _, s := range c.all() {
			switch {
			case !s.isURL():
				c.lookAt(s)
			case s.begin(time.Now()):
				fetches.Go(func() { c.refresh(ctx, s) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.soon:
		}
	}
}

func (c *credentials) all() []*credential {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*credential, 0, len(c.sources))
	for _, s := range c.sources {
		all = append(all, s)
	}
	return all
}

// reload schedules reading everything again.
func (c *credentials) reload() {
	for _, s := range c.all() {
		s.mu.Lock()
		s.due, s.seen = time.Time{}, nil
		s.mu.Unlock()
	}
	c.wake()
}

// lookAt reads a file if it has changed.
func (c *credentials) lookAt(s *credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Stat(s.place)
	if err == nil && s.seen != nil && os.SameFile(info, s.seen) && info.ModTime().Equal(s.seen.ModTime()) && info.Size() == s.seen.Size() {
		return
	}
	var data []byte
	if err == nil {
		data, err = files.Read(s.place, auth.MaxPasswords)
	}
	if err == nil {
		err = c.take(s, data)
	}
	s.seen = info
	c.note(s, err)
}

// note records the result of a try, s.mu held, and logs when it changes.
func (c *credentials) note(s *credential, err error) {
	switch {
	case err != nil && (s.err == nil || s.err.Error() != err.Error()):
		c.log.Error().Err(err).Str("source", s.shown()).Bool("old_ones_hold", s.ready()).Msg("credentials not read")
	case err == nil && s.err != nil:
		c.log.Info().Str("source", s.shown()).Msg("credentials read again")
	}
	s.err = err
}

// begin reports whether a URL is to be fetched now, and claims it.
func (s *credential) begin(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	missed := now.Sub(s.fetched) >= missedKeys && s.keys.TakeMissed()
	if s.fetching || now.Before(s.due) && !missed {
		return false
	}
	s.fetching, s.fetched = true, now
	return true
}

// refresh fetches the keys of a URL. What it cannot get leaves those it has.
func (c *credentials) refresh(ctx context.Context, s *credential) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	data, err := c.fetch(ctx, s.place)
	if err == nil {
		err = c.take(s, data)
	}
	if err == nil {
		c.copyDown(s, data)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetching = false
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the node stops
	}
	pause := refreshKeys + mathrand.N(refreshKeys/10)
	if err != nil {
		pause = min(retryKeys<<min(s.failures, 10), retryKeysMax)
		s.failures++
	} else {
		s.failures = 0
	}
	s.due = time.Now().Add(pause)
	c.note(s, err)
}

// copyDown saves data for the next start, unless s is no longer needed.
func (c *credentials) copyDown(s *credential, data []byte) {
	c.copying.Lock()
	defer c.copying.Unlock()
	c.mu.Lock()
	needed := c.sources["keys "+s.place] == s
	if needed {
		delete(c.stale, s.copyName())
	}
	c.mu.Unlock()
	if !needed {
		return
	}
	if err := c.dir.Write(s.copyName(), data); err != nil {
		c.log.Warn().Err(err).Str("source", s.shown()).Msg("keys not kept for the next start")
	}
}

var (
	errGuarded  = errors.New("address that no route may reach")
	errRedirect = errors.New("redirected to where it is not encrypted")
)

// newFetcher returns what gets a key set from a URL. It reaches no address that
// a route may not, whatever the URL's name stands for, and follows no redirect
// from https to http.
func newFetcher(control func(netip.AddrPort) bool) func(ctx context.Context, address string) ([]byte, error) {
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || dataplane.OffLimits(to.Addr()) || control(to) {
			return fmt.Errorf("%s: %w", address, errGuarded)
		}
		return nil
	}}
	client := &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: fetchTimeout},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			if len(via) > 3 || via[0].URL.Scheme == "https" && to.URL.Scheme != "https" {
				return errRedirect
			}
			return nil
		},
	}
	return func(ctx context.Context, address string) ([]byte, error) {
		return get(ctx, client, address)
	}
}

func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := client.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // without the URL, which is named beside it
	}
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch keys: status %d", answer.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, auth.MaxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	return data, nil
}
