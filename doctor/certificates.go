package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meshgw/meshgw/api"
)

// expiring is how long before its end a certificate is a finding: two weeks, or
// less for one that lives shorter than ten.
const expiring = 14 * 24 * time.Hour

// How much one key may seal, by all nodes together: AES-GCM with random nonces is
// safe for 2^32 packets (NIST SP 800-38D, 8.3). Half of it is time to act.
const (
	keyWorn = 1 << 31
	keyLife = 1 << 32
)

// certificates: what is to expire soon, or not the same everywhere.
func (r Round) certificates() api.Check {
	c := api.Check{Name: api.CheckCertificates}
	var ends groups[Certificate]
	var next time.Time
	for _, a := range r.Answers {
		for _, cert := range a.Certificates {
			if next.IsZero() || cert.Until.Before(next) {
				next = cert.Until
			}
			if left := cert.Until.Sub(r.Now); left < min(expiring, cert.Until.Sub(cert.From)/5) {
				ends.add(cert, a.Node, time.Time{})
			}
		}
	}
	for _, cert := range ends.keys {
		c.Findings = append(c.Findings, api.Finding{
			What:  fmt.Sprintf("%s for %s %s", called(cert.Use), cert.Names, expires(r.Now, cert.Until)),
			Nodes: ends.nodes[cert], Next: renew(cert.Use),
		})
	}
	c.Findings = append(c.Findings, r.unlike()...)
	c.Findings = append(c.Findings, r.keys()...)
	c.Findings = append(c.Findings, r.worn()...)
	c.Notes = r.open()
	if c.Summary = "gossip is in clear, there are no certificates"; r.sealed() {
		c.Summary = "every node has the same gossip keys"
	}
	if !next.IsZero() {
		c.Summary += "; the next certificate expires " + next.UTC().Format(time.DateOnly)
	}
	if len(c.Findings) > 0 {
		c.Summary = "certificates or keys want attention"
	}
	return c
}

func called(use string) string {
	switch use {
	case "mesh":
		return "the mesh certificate"
	case "mesh_ca":
		return "the CA of the mesh"
	}
	if name, ok := strings.CutPrefix(use, ForUpstream); ok {
		return "the certificate shown to upstream " + name
	}
	return "the certificate of " + use
}

func expires(now, until time.Time) string {
	if left := until.Sub(now); left > 0 {
		return fmt.Sprintf("expires in %s, %s", lasting(left), until.UTC().Format(time.DateTime))
	}
	return "has expired, " + until.UTC().Format(time.DateTime)
}

func lasting(d time.Duration) string {
	if d >= 48*time.Hour {
		return of(int(d/(24*time.Hour)), "day")
	}
	return d.Round(time.Minute).String()
}

func renew(use string) string {
	switch use {
	case "mesh":
		return "meshgw cert node --help"
	case "mesh_ca":
		return "meshgw cert ca --help"
	}
	if name, ok := strings.CutPrefix(use, ForUpstream); ok {
		return "meshgw routes apply FILE # with a new tls.cert of " + name
	}
	if strings.HasPrefix(use, OfUpstream) {
		return "openssl s_client -connect HOST:PORT # at one of its endpoints, whose it is to renew"
	}
	return "kill -HUP PID # once the files are renewed"
}

// unlike: certificates of the same use and names that are not the same on all
// nodes that have one. Those of the mesh link are each node's own.
func (r Round) unlike() (all []api.Finding) {
	prints := map[[2]string]map[string][]string{}
	cas := map[string][]string{}
	for _, a := range r.Answers {
		var ca []string
		for _, cert := range a.Certificates {
			switch {
			case cert.Use == "mesh", strings.HasPrefix(cert.Use, OfUpstream): // each has its own
			case cert.Use == "mesh_ca":
				ca = append(ca, cert.Fingerprint)
			default:
				key := [2]string{cert.Use, cert.Names}
				if prints[key] == nil {
					prints[key] = map[string][]string{}
				}
				prints[key][cert.Fingerprint] = append(prints[key][cert.Fingerprint], a.Node)
			}
		}
		if len(ca) > 0 {
			slices.Sort(ca)
			joined := fmt.Sprint(ca)
			cas[joined] = append(cas[joined], a.Node)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(prints), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		if len(prints[key]) > 1 {
			all = append(all, api.Finding{
				What:  fmt.Sprintf("the certificate of %s for %s is not the same everywhere: %s", key[0], key[1], sides(prints[key])),
				Nodes: smaller(prints[key]), Next: renew(key[0]),
			})
		}
	}
	if len(cas) > 1 {
		all = append(all, api.Finding{
			What:  "the CAs of the mesh are not the same everywhere: " + sides(cas),
			Nodes: smaller(cas), Next: renew("mesh_ca"),
		})
	}
	return all
}

// keys: gossip keys that differ.
func (r Round) keys() (all []api.Finding) {
	rings, primaries := map[string][]string{}, map[string][]string{}
	for _, a := range r.Answers {
		primary := "none"
		if len(a.Keys) > 0 {
			primary = a.Keys[0]
		}
		ring := fmt.Sprint(slices.Sorted(slices.Values(a.Keys)))
		rings[ring] = append(rings[ring], a.Node)
		primaries[primary] = append(primaries[primary], a.Node)
	}
	switch {
	case len(primaries) > 1:
		all = append(all, api.Finding{
			What: "nodes seal gossip by different keys: " + sides(primaries), Nodes: smaller(primaries), Next: "serf keys -list",
		})
	case len(rings) > 1:
		all = append(all, api.Finding{
			What: "gossip keys are not the same everywhere: " + sides(rings), Nodes: smaller(rings), Next: "serf keys -list",
		})
	}
	return all
}

// open: who gives the gossip keys away to its own machine. That is the default,
// and nothing wrong where nobody else has an account there.
func (r Round) open() []api.Finding {
	var open []string
	for _, a := range r.Answers {
		if a.OpenRPC {
			open = append(open, a.Node)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return []api.Finding{{
		What:  "Serf's RPC asks for no key: whoever has an account on the machine can read and change the gossip keys",
		Nodes: open, Next: "meshgw agent --rpc-auth KEY",
	}}
}

// worn: keys that seal and have sealed much.
func (r Round) worn() (all []api.Finding) {
	sealed := map[string]uint64{}
	var primaries groups[string]
	for _, a := range r.Answers {
		for key, count := range a.Sealed {
			sealed[key] += count
		}
		if len(a.Keys) > 0 {
			primaries.add(a.Keys[0], a.Node, time.Time{})
		}
	}
	for _, key := range primaries.keys {
		if n := sealed[key]; n >= keyWorn {
			all = append(all, api.Finding{
				What:  fmt.Sprintf("the gossip key %s has sealed %d packets, %d %% of what is safe", key, n, n*100/keyLife),
				Nodes: primaries.nodes[key], Next: "meshgw keys rotate",
			})
		}
	}
	return all
}

func (r Round) sealed() bool {
	return slices.ContainsFunc(r.Answers, func(a Answer) bool { return len(a.Keys) > 0 })
}

// sides names who holds what, the most first.
func sides(by map[string][]string) string {
	var all []string
	for _, key := range bySize(by) {
		all = append(all, list(by[key]))
	}
	return strings.Join(all, " against ")
}

// smaller is who is not with the most.
func smaller(by map[string][]string) (nodes []string) {
	for _, key := range bySize(by)[1:] {
		nodes = append(nodes, by[key]...)
	}
	return nodes
}

func bySize(by map[string][]string) []string {
	keys := slices.Sorted(maps.Keys(by))
	slices.SortStableFunc(keys, func(a, b string) int { return len(by[b]) - len(by[a]) })
	return keys
}
