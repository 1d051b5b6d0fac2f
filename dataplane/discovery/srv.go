package discovery

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/routetable"
)

const (
	firstWait     = 500 * time.Millisecond // that a new table waits for names which no table had before
	retryWait     = 2 * time.Second        // until a failed lookup is repeated
	minTTL        = time.Second            // shorter ones are taken for this
	lookupTimeout = 5 * time.Second        // for a lookup
)

// SRV keeps the SRV records of the service names that endpoints are given by. A
// name is looked up again when its records have expired; if that fails, the last
// good ones stay. It is safe for concurrent use.
type SRV struct {
	servers *dns.ClientConfig
	log     zerolog.Logger
	spawn   func(func())
	changed func()

	mu    sync.Mutex // guards the rest
	names map[string]*serviceName
}

// serviceName is what is known of one name.
type serviceName struct {
	records []dns.SRV // the last good ones, sorted
	fault   string    // why the last lookup failed; empty if it did not
	due     time.Time
	pending chan struct{} // closed when the lookup in progress has ended; nil if there is none
}

// NewSRV returns an SRV that asks servers, or those of the system if that is nil.
// Lookups run in spawn. changed is called in the background, with no lock held,
// after the records of a name have changed.
func NewSRV(servers *dns.ClientConfig, log zerolog.Logger, spawn func(func()), changed func()) *SRV {
	return &SRV{servers: servers, log: log, spawn: spawn, changed: changed, names: map[string]*serviceName{}}
}

// Follow looks up the names of services that are new, waiting up to 0.5 s for the
// answers, and forgets those that no service has any more.
func (d *SRV) Follow(services []*routetable.Service) {
	wanted := map[string]bool{}
	var pending []<-chan struct{}
	d.mu.Lock()
	for _, service := range services {
		for i := range service.Endpoints {
			a := &service.Endpoints[i]
			if a.SRV && d.names[a.Host] == nil {
				d.names[a.Host] = &serviceName{}
				pending = append(pending, d.startLookup(a.Host))
			}
			wanted[a.Host] = wanted[a.Host] || a.SRV
		}
	}
	maps.DeleteFunc(d.names, func(name string, _ *serviceName) bool { return !wanted[name] })
	d.mu.Unlock()
	timeout := time.After(firstWait)
	for _, done := range pending {
		select {
		case <-done:
		case <-timeout:
			return
		}
	}
}

// Refresh starts lookups of the names whose records have expired.
func (d *SRV) Refresh(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, n := range d.names {
		if n.pending == nil && !now.Before(n.due) {
			d.startLookup(name)
		}
	}
}

// startLookup looks up a known name in the background, d.mu held.
func (d *SRV) startLookup(name string) <-chan struct{} {
	n := d.names[name]
	done := make(chan struct{})
	n.pending = done
	d.spawn(func() {
		ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
		defer cancel()
		records, ttl, err := lookupSRV(ctx, d.servers, name)
		if d.store(name, n, records, ttl, err) {
			d.changed()
		}
	})
	return done
}

// store keeps the result of a lookup, and reports whether the records are others
// than before.
func (d *SRV) store(name string, n *serviceName, records []dns.SRV, ttl time.Duration, err error) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := n.fault
	if n.fault = ""; err == nil {
		changed = !slices.Equal(records, n.records)
		n.records = records
	} else {
		n.fault, ttl = err.Error(), retryWait
	}
	n.due = time.Now().Add(max(ttl, minTTL))
	close(n.pending)
	n.pending = nil
	switch {
	case n.fault != before && n.fault != "":
		d.log.Warn().Str("name", name).Int("endpoints", len(n.records)).Err(err).Msg("endpoints not found")
	case changed:
		d.log.Info().Str("name", name).Int("endpoints", len(records)).Msg("endpoints found")
	}
	return changed
}

// Expand returns endpoints with each service name replaced by the addresses of its
// records. A name without records stays as it is: see Fault.
func (d *SRV) Expand(endpoints []routetable.Address) []routetable.Address {
	if !slices.ContainsFunc(endpoints, func(a routetable.Address) bool { return a.SRV }) {
		return endpoints
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []routetable.Address
	for _, a := range endpoints {
		var records []dns.SRV
		if n := d.names[a.Host]; a.SRV && n != nil {
			records = n.records
		}
		if len(records) == 0 {
			all = append(all, a)
		}
		for i := range records {
			all = append(all, addressOf(a, &records[i]))
		}
	}
	return all
}

// addressOf returns the address that a record gives for the name a. RFC 2782 wants
// weight 0 to be a very small one.
func addressOf(a routetable.Address, r *dns.SRV) routetable.Address {
	scheme := "http://"
	if a.TLS {
		scheme = "https://"
	}
	a.SRV, a.Host, a.Port, a.Priority = false, r.Target, int(r.Port), int(r.Priority)
	a.HostPort = net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
	a.URL = scheme + a.HostPort + a.BasePath
	a.Weight *= max(1, int(r.Weight))
	return a
}

// Fault says in words why a name has no records.
func (d *SRV) Fault(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.names[name]; n != nil && n.fault != "" {
		return n.fault
	}
	return "no SRV record yet"
}
