package dataplane

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/meshgw/meshgw/dataplane/discovery"
	"github.com/meshgw/meshgw/quota"
	"github.com/meshgw/meshgw/telemetry"
)

// Config configures a Server. Zero fields get the defaults named beside them.
type Config struct {
	Node, Region   string
	TrustedProxies []netip.Prefix // whose X-Forwarded fields are trusted
	ProxyProtocol  []netip.Prefix // whose connections begin with a header of the PROXY protocol
	MaxInflight    int            // requests in flight, beyond which new ones get 503; 0 = no bound
	MaxConns       int            // client connections; 0 = 50,000
	MaxConnsPerIP  int            // of one client, in IPv6 of a /64; trusted proxies may have more. 0 = no bound
	AccessLog      AccessLog

	// Control reports whether an address is one of the node's control ports, such
	// as admin and gossip, which are never dialed. nil = none is.
	Control func(netip.AddrPort) bool

	// Banned reports whether a client is banned. It is called for every request, so
	// it must neither block nor allocate. nil = none is.
	Banned func(netip.Addr) bool

	// Link returns the TLS settings for a mesh link to a gateway, by its node name:
	// a copy that the caller may change, nil for a plain link. nil = there are no
	// links.
	Link func(node string) *tls.Config

	// Traffic counts the requests of clients by route. nil = is not exported.
	Traffic *telemetry.Traffic

	// Requests keeps the records of the last requests. nil = none are kept.
	Requests *telemetry.Ring

	// Traced is called with the record of each request that is sampled or has
	// failed. It must neither block nor keep the record. nil = tracing is off.
	Traced func(*telemetry.Record)
	// TraceRatio is the share of traces that are sampled, in [0,1], of those that
	// begin here; 0 = failures only.
	TraceRatio float64

	// Limiter enforces the limits. If it is nil, the routes of a table with limits
	// answer 503.
	Limiter Limiter

	// Credentials provides keys and users. If it is nil, routes that need them
	// admit nobody.
	Credentials Credentials

	// Now is the wall clock that tokens and certificates are checked by; nil =
	// time.Now.
	Now func() time.Time

	// DrainFinish is how long Serve waits for requests in flight after its context
	// has ended; 0 = 30 s.
	DrainFinish time.Duration

	// Dial connects to endpoints; nil = net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolve looks up host names of endpoints; nil = the system's resolver.
	Resolve discovery.Lookup
	// Secret returns the secret of the mesh, which the cookies of sticky sessions are
	// derived from; the same pointer until the secret changes. nil = a random one of
	// this Server.
	Secret func() *quota.Secret
	// DNS configures the servers that are asked for SRV records; nil = those of the
	// system.
	DNS *dns.ClientConfig
}

// withDefaults returns cfg with the defaults of its zero fields.
func (cfg Config) withDefaults() Config {
	cfg.DrainFinish = cmp.Or(cfg.DrainFinish, 30*time.Second)
	cfg.MaxConns = cmp.Or(cfg.MaxConns, 50_000)
	cfg.AccessLog.Slow = cmp.Or(cfg.AccessLog.Slow, time.Second)
	if cfg.Traffic == nil {
		cfg.Traffic = telemetry.NewTraffic()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.Secret == nil {
		own := new(quota.Secret)
		_, _ = rand.Read(own[:]) // never fails, see crypto/rand
		cfg.Secret = func() *quota.Secret { return own }
	}
	if cfg.Resolve == nil {
		cfg.Resolve = discovery.SystemLookup
	}
	return cfg
}
