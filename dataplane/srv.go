package dataplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/meshgw/meshgw/routetable"
)

const (
	srvFirst    = 500 * time.Millisecond // that a table waits for names it is the first to have
	srvAgain    = 2 * time.Second        // until a name is asked for again that could not be looked up
	srvSoonest  = time.Second            // the shortest lifetime that is believed
	srvTimeout  = 5 * time.Second        // for a look-up
	dnsTimeout  = 2 * time.Second        // for one server
	mostRecords = 1024                   // as many as an upstream may list
	dnsPacket   = 1232                   // bytes that pass any network unfragmented (DNS flag day 2020)
)

// discovery knows the SRV records of the names that endpoints are found by. A name
// is looked up again when the lifetime of its records is over; where that fails,
// the last good ones stay.
type discovery struct {
	mu    sync.Mutex // guards the rest
	names map[string]*srvName
}

type srvName struct {
	records []dns.SRV // the last good ones, sorted
	fault   string    // of the last look; empty = none
	due     time.Time
	looked  chan struct{} // closed when the look under way has ended; nil = none is
}

// discover looks up what names t is the first to have, and forgets what it has not.
func (s *Server) discover(t *routetable.Table) {
	d, wanted := &s.discovery, map[string]bool{}
	var looks []<-chan struct{}
	d.mu.Lock()
	for _, service := range t.Services() {
		for i := range service.Endpoints {
			a := &service.Endpoints[i]
			if a.SRV && d.names[a.Host] == nil {
				d.names[a.Host] = &srvName{}
				looks = append(looks, s.lookAgain(a.Host))
			}
			wanted[a.Host] = wanted[a.Host] || a.SRV
		}
	}
	maps.DeleteFunc(d.names, func(name string, _ *srvName) bool { return !wanted[name] })
	d.mu.Unlock()
	patience := time.After(srvFirst)
	for _, looked := range looks {
		select {
		case <-looked:
		case <-patience:
			return
		}
	}
}

// rediscover looks up what names are due.
func (s *Server) rediscover(now time.Time) {
	s.discovery.mu.Lock()
	defer s.discovery.mu.Unlock()
	for name, n := range s.discovery.names {
		if n.looked == nil && !now.Before(n.due) {
			s.lookAgain(name)
		}
	}
}

// lookAgain looks up a known name in the background, s.discovery.mu held.
func (s *Server) lookAgain(name string) <-chan struct{} {
	n := s.discovery.names[name]
	looked := make(chan struct{})
	n.looked = looked
	s.spawn(func() {
		ctx, cancel := context.WithTimeout(context.Background(), srvTimeout)
		defer cancel()
		records, ttl, err := s.lookupSRV(ctx, name)
		if s.found(name, n, records, ttl, err) {
			s.publishing.Lock()
			defer s.publishing.Unlock()
			s.publish(s.plan.Load().table)
		}
	})
	return looked
}

// found takes in what a look has found, and reports whether that is new.
func (s *Server) found(name string, n *srvName, records []dns.SRV, ttl time.Duration, err error) (news bool) {
	s.discovery.mu.Lock()
	defer s.discovery.mu.Unlock()
	before := n.fault
	if n.fault = ""; err == nil {
		news = !slices.Equal(records, n.records)
		n.records = records
	} else {
		n.fault, ttl = err.Error(), srvAgain
	}
	n.due = time.Now().Add(max(ttl, srvSoonest))
	close(n.looked)
	n.looked = nil
	switch {
	case n.fault != before && n.fault != "":
		s.log.Warn().Str("name", name).Int("endpoints", len(n.records)).Err(err).Msg("endpoints not found")
	case news:
		s.log.Info().Str("name", name).Int("endpoints", len(records)).Msg("endpoints found")
	}
	return news
}

// addresses gives the addresses of a service, those of a name for the name itself.
// A name without any stands for itself.
func (s *Server) addresses(service *routetable.Service) []routetable.Address {
	if !slices.ContainsFunc(service.Endpoints, func(a routetable.Address) bool { return a.SRV }) {
		return service.Endpoints
	}
	s.discovery.mu.Lock()
	defer s.discovery.mu.Unlock()
	var all []routetable.Address
	for _, a := range service.Endpoints {
		var records []dns.SRV
		if n := s.discovery.names[a.Host]; a.SRV && n != nil {
			records = n.records
		}
		if len(records) == 0 {
			all = append(all, a)
		}
		for i := range records {
			all = append(all, located(a, &records[i]))
		}
	}
	return all
}

// located is the address that a record gives for a name. In RFC 2782 weight 0 is a
// very small one.
func located(a routetable.Address, r *dns.SRV) routetable.Address {
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

// unfound says why a name has no address.
func (d *discovery) unfound(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.names[name]; n != nil && n.fault != "" {
		return n.fault
	}
	return "no SRV record yet"
}

// lookupSRV asks the system's DNS servers, or those of the Config.
func (s *Server) lookupSRV(ctx context.Context, name string) (records []dns.SRV, ttl time.Duration, err error) {
	servers := s.cfg.DNS
	if servers == nil {
		if servers, err = dns.ClientConfigFromFile("/etc/resolv.conf"); err != nil {
			return nil, 0, err
		}
	}
	var answer *dns.Msg
	for _, full := range servers.NameList(name) {
		for _, server := range servers.Servers {
			answer, err = exchange(ctx, net.JoinHostPort(server, servers.Port), full)
			if err == nil {
				break
			}
		}
		if err == nil && answer.Rcode == dns.RcodeSuccess {
			break
		}
	}
	if err == nil {
		records, ttl, err = readSRV(answer)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("look up SRV of %s: %w", name, err)
	}
	return records, ttl, nil
}

// exchange asks one server, again by TCP where the answer does not fit.
func exchange(ctx context.Context, server, name string) (*dns.Msg, error) {
	question := new(dns.Msg).SetQuestion(name, dns.TypeSRV).SetEdns0(dnsPacket, false)
	for _, network := range []string{"udp", "tcp"} {
		client := dns.Client{Net: network, Timeout: dnsTimeout}
		answer, _, err := client.ExchangeContext(ctx, question, server)
		switch {
		case err != nil:
			return nil, err
		case answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError:
			return nil, fmt.Errorf("%s answers %s", server, dns.RcodeToString[answer.Rcode])
		case !answer.Truncated:
			return answer, nil
		}
	}
	return nil, errors.New("the answer is cut off")
}

// readSRV returns the records of an answer, sorted, and how long they hold. None is
// an error, unless the name says itself that it is not served (RFC 2782).
func readSRV(answer *dns.Msg) (records []dns.SRV, ttl time.Duration, err error) {
	if answer.Rcode != dns.RcodeSuccess {
		return nil, 0, errors.New("no such name")
	}
	ttl, served := 24*time.Hour, true
	for _, rr := range answer.Answer {
		ttl = min(ttl, time.Duration(rr.Header().Ttl)*time.Second) // those of aliases too
		r, ok := rr.(*dns.SRV)
		if !ok {
			continue
		}
		// Names of DNS may hold any byte, and this one goes into heads.
		host, _, err := routetable.ParseHost(nil, []byte(strings.TrimSuffix(r.Target, ".")))
		switch {
		case r.Target == ".":
			served = false
		case err == nil && r.Port != 0 && len(records) < mostRecords:
			records = append(records, dns.SRV{Target: string(host), Port: r.Port, Priority: r.Priority, Weight: r.Weight})
		}
	}
	if len(records) == 0 && served {
		return nil, 0, errors.New("no SRV record")
	}
	slices.SortFunc(records, func(a, b dns.SRV) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Priority, b.Priority))
	})
	return slices.CompactFunc(records, func(a, b dns.SRV) bool { return a.Target == b.Target && a.Port == b.Port }), ttl, nil
}
