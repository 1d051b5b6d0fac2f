package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/meshgw/meshgw/routetable/canonical"
)

const (
	serverTimeout = 2 * time.Second // for the answer of one server
	maxRecords    = 1024            // of one name; further ones are ignored
	packetSize    = 1232            // bytes that pass any network unfragmented (DNS flag day 2020)
)

// lookupSRV asks servers, one after the other until one answers; those of the
// system if servers is nil.
func lookupSRV(ctx context.Context, servers *dns.ClientConfig, name string) (records []dns.SRV, ttl time.Duration, err error) {
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

// exchange asks one server by UDP, and again by TCP if the answer is truncated.
func exchange(ctx context.Context, server, name string) (*dns.Msg, error) {
	question := new(dns.Msg).SetQuestion(name, dns.TypeSRV).SetEdns0(packetSize, false)
	for _, network := range []string{"udp", "tcp"} {
		client := dns.Client{Net: network, Timeout: serverTimeout}
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

// readSRV returns the records of an answer, sorted and without duplicates, and for
// how long they are valid. Having none is an error, unless the target "." says that
// the service is not offered (RFC 2782).
func readSRV(answer *dns.Msg) (records []dns.SRV, ttl time.Duration, err error) {
	if answer.Rcode != dns.RcodeSuccess {
		return nil, 0, errors.New("no such name")
	}
	ttl, offered := 24*time.Hour, true
	for _, rr := range answer.Answer {
		ttl = min(ttl, time.Duration(rr.Header().Ttl)*time.Second) // of aliases too
		r, ok := rr.(*dns.SRV)
		if !ok {
			continue
		}
		// A DNS name may hold any byte, and this one ends up in a header.
		host, _, err := canonical.ParseHost(nil, []byte(strings.TrimSuffix(r.Target, ".")))
		switch {
		case r.Target == ".":
			offered = false
		case err == nil && r.Port != 0 && len(records) < maxRecords:
			records = append(records, dns.SRV{Target: string(host), Port: r.Port, Priority: r.Priority, Weight: r.Weight})
		}
	}
	if len(records) == 0 && offered {
		return nil, 0, errors.New("no SRV record")
	}
	slices.SortFunc(records, func(a, b dns.SRV) int {
		return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Priority, b.Priority))
	})
	return slices.CompactFunc(records, func(a, b dns.SRV) bool { return a.Target == b.Target && a.Port == b.Port }), ttl, nil
}
