package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/tracing"
)

const envPrefix = "MESHGW_"

const (
	maxNodeName  = 128 // as Serf bounds it
	maxPlaceName = 64  // of regions and zones, which are metric labels

	// MaxWeight is the most that a node's weight may be.
	MaxWeight = 65535
)

// Setting is one setting of a node: its flag, the key of the same
// in the file, its environment variable. Flags, file, environment, help and the
// reference page all come from the one table that Settings returns.
type Setting struct {
	Flag    string // without dashes; empty for what only a file can say
	Key     string // in the file, with dots between the levels
	Value   string // what is to be given, for the help: ADDR, FILE; empty for a switch
	Default string // as a user would write it
	Absent  string // what happens without a value, where there is no Default
	Help    string // one line
	Many    bool   // may be given several times, or as a list

	set func(d *draft, values []string) error
}

// Env is the environment variable of s: MESHGW_ and the flag's name.
func (s Setting) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.Flag, "-", "_"))
}

// Switch reports whether s is on or off and its flag takes no value.
func (s Setting) Switch() bool { return s.Value == "" }

// split takes a list apart that came as one text.
func (s Setting) split(value string) []string {
	if !s.Many {
		return []string{value}
	}
	return slices.DeleteFunc(strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' }), func(s string) bool { return s == "" })
}

// Settings returns every setting that has a flag, in the order of the help.
func Settings() []Setting {
	return slices.DeleteFunc(settings(), func(s Setting) bool { return s.Flag == "" })
}

func settings() []Setting {
	return slices.Concat(nodeSettings(), listenSettings(), gossipSettings(), serveSettings())
}

func nodeSettings() []Setting {
	return []Setting{
		{Flag: "node", Key: "node.name", Value: "NAME", Absent: "the host's name", Help: "name of this node, unique in the mesh", set: name(func(d *draft) *string { return &d.Node.Name }, 1, maxNodeName)},
		{Flag: "region", Key: "node.region", Value: "NAME", Default: "default", Help: "region this node serves", set: name(func(d *draft) *string { return &d.Node.Region }, 1, maxPlaceName)},
		{Flag: "zone", Key: "node.zone", Value: "NAME", Absent: "none", Help: "zone within the region", set: name(func(d *draft) *string { return &d.Node.Zone }, 0, maxPlaceName)},
		{Flag: "weight", Key: "node.weight", Value: "N", Default: "100", Help: "capacity relative to other nodes, 1 to 65535", set: number(func(d *draft) *int { return &d.Node.Weight }, 1, MaxWeight)},
		{Flag: "data-dir", Key: "data_dir", Value: "DIR", Default: "./meshgw-data", Help: "directory of what must survive a restart", set: text(func(d *draft) *string { return &d.DataDir })},
		{Flag: "routes", Key: "routes_file", Value: "FILE", Absent: "none", Help: "route file, applied at start and whenever it changes", set: text(func(d *draft) *string { return &d.RoutesFile })},
		{Flag: "ready-file", Key: "ready_file", Value: "FILE", Absent: "none", Help: "file that holds the addresses, as JSON, once the node serves", set: text(func(d *draft) *string { return &d.ReadyFile })},
	}
}

func listenSettings() []Setting {
	return []Setting{
		{Flag: "http", Key: "listen.http", Value: "ADDR", Default: ":8080", Help: "address that serves HTTP", set: address(func(d *draft) *string { return &d.Listen.HTTP })},
		{Flag: "https", Key: "listen.https.address", Value: "ADDR", Absent: ":8443 with a certificate, else closed", Help: "address that serves HTTPS", set: address(func(d *draft) *string { return &d.Listen.HTTPS })},
		{Flag: "tls-cert", Key: "listen.https.certificates[].cert", Value: "FILE", Absent: "none", Help: "PEM certificate chain of HTTPS", set: text(func(d *draft) *string { return &d.pair.Cert })},
		{Flag: "tls-key", Key: "listen.https.certificates[].key", Value: "FILE", Absent: "none", Help: "PEM key of --tls-cert", set: text(func(d *draft) *string { return &d.pair.Key })},
		{Flag: "tls-client-ca", Key: "listen.https.client_ca", Value: "FILE", Absent: "clients are asked for none", Help: "PEM certificates of the CAs that HTTPS clients may show certificates of", set: text(func(d *draft) *string { return &d.Listen.ClientCA })},
		{Flag: "mesh", Key: "listen.mesh", Value: "ADDR", Absent: ":7443 with --mesh-cert, 127.0.0.1:7443 with --insecure, else closed", Help: "address at which gateways of other regions send requests on to this node", set: address(func(d *draft) *string { return &d.Listen.Mesh })},
		{Flag: "mesh-ca", Key: "mesh_tls.ca", Value: "FILE", Absent: "none", Help: "PEM certificates of the mesh's own CA", set: text(func(d *draft) *string { return &d.MeshTLS.CA })},
		{Flag: "mesh-streams", Key: "mesh_tls.streams", Value: "require|prefer", Default: "require", Help: "with certificates: whether streams of gossip need them; prefer is for the time until all nodes have theirs", set: choice(func(d *draft) *string { return &d.Gossip.Streams }, "require", "prefer")},
		{Flag: "mesh-cert", Key: "mesh_tls.cert", Value: "FILE", Absent: "none", Help: "PEM certificate of this node, for its name", set: text(func(d *draft) *string { return &d.MeshTLS.Cert })},
		{Flag: "mesh-key", Key: "mesh_tls.key", Value: "FILE", Absent: "none", Help: "PEM key of --mesh-cert", set: text(func(d *draft) *string { return &d.MeshTLS.Key })},
		{Key: moreKey, Many: true, Absent: "none", Help: "further listeners for clients: a list of {name, address, tls: {certificates: [{cert, key}]}}", set: notAList},
		{Flag: "admin", Key: "listen.admin", Value: "ADDR", Default: "127.0.0.1:9901", Help: "address of status, metrics and the admin API", set: adminAddress},
		{Flag: "admin-tokens", Key: "admin.tokens_file", Value: "FILE", Absent: "none", Help: "file of lines NAME ROLE TOKEN that the admin API admits; ROLE is read or write, TOKEN may be ${VARIABLE} or san:NAME", set: text(func(d *draft) *string { return &d.AdminTokensFile })},
		{Flag: "admin-tls-cert", Key: "admin.tls.cert", Value: "FILE", Absent: "the admin API in clear", Help: "PEM certificate chain of the admin listener", set: text(func(d *draft) *string { return &d.AdminTLS.Cert })},
		{Flag: "admin-tls-key", Key: "admin.tls.key", Value: "FILE", Absent: "none", Help: "PEM key of --admin-tls-cert", set: text(func(d *draft) *string { return &d.AdminTLS.Key })},
		{Flag: "admin-client-ca", Key: "admin.tls.client_ca", Value: "FILE", Absent: "clients are asked for none", Help: "PEM certificates of the CAs whose certificates admin clients may show instead of a token", set: text(func(d *draft) *string { return &d.AdminTLS.ClientCA })},
	}
}

func gossipSettings() []Setting {
	return []Setting{
		{Flag: "bind", Key: "gossip.bind", Value: "ADDR", Absent: "0.0.0.0:7946 with a keyring, else 127.0.0.1:7946", Help: "address of gossip, TCP and UDP", set: address(func(d *draft) *string { return &d.Gossip.Bind })},
		{Flag: "advertise", Key: "gossip.advertise", Value: "ADDR", Absent: "detected", Help: "address that peers are told to reach gossip at", set: address(func(d *draft) *string { return &d.Gossip.Advertise })},
		{Flag: "rpc", Key: "gossip.rpc", Value: "ADDR", Default: "127.0.0.1:7373", Help: "address of Serf's RPC, for the serf command", set: address(func(d *draft) *string { return &d.Gossip.RPC })},
		{Flag: "rpc-auth", Key: "gossip.rpc_auth", Value: "KEY", Absent: "none", Help: "key that Serf's RPC asks for", set: secret(func(d *draft) *Secret { return &d.Gossip.RPCAuth })},
		{Flag: "join", Key: "gossip.join", Value: "ADDR", Absent: "a mesh of one, to be joined", Many: true, Help: "a node to join: HOST, HOST:PORT or dnssrv+NAME", set: seeds},
		{Flag: "keyring", Key: "gossip.keyring_file", Value: "FILE", Absent: "gossip in clear, on loopback only", Help: "JSON array of base64 keys that encrypt gossip", set: text(func(d *draft) *string { return &d.Gossip.KeyringFile })},
		{Flag: "profile", Key: "gossip.profile", Value: "local|lan|wan", Default: "lan", Help: "timing of gossip; local is for one machine", set: choice(func(d *draft) *string { return &d.Gossip.Profile }, "local", "lan", "wan")},
		{Flag: "insecure", Key: "insecure", Help: "allow clear text and open ports off loopback", set: onOff(func(d *draft) *bool { return &d.Insecure })},
	}
}

func serveSettings() []Setting {
	return []Setting{
		{Flag: "trusted-proxies", Key: "trusted_proxies", Value: "CIDR", Absent: "none", Many: true, Help: "network whose forwarding headers are believed", set: networks(func(d *draft) *[]netip.Prefix { return &d.TrustedProxies })},
		{Flag: "proxy-protocol", Key: "proxy_protocol", Value: "CIDR", Absent: "none", Many: true, Help: "network of load balancers whose connections begin with a header of the PROXY protocol, version 1 or 2; one without is closed", set: networks(func(d *draft) *[]netip.Prefix { return &d.ProxyProtocol })},
		{Flag: "max-inflight", Key: "limits.max_inflight", Value: "N", Absent: "by memory", Help: "requests served at once; more are refused", set: number(func(d *draft) *int { return &d.MaxInflight }, 1, 1<<24)},
		{Flag: "max-connections", Key: "limits.max_connections", Value: "N", Default: "50000", Help: "connections of clients at once", set: number(func(d *draft) *int { return &d.MaxConns }, 1, 1<<24)},
		{Flag: "max-connections-per-client", Key: "limits.max_connections_per_client", Value: "N", Absent: "no bound", Help: "of these, from one address (in IPv6, from one network of 64 bits); those of trusted proxies and of gateways are not counted", set: number(func(d *draft) *int { return &d.MaxConnsPerIP }, 1, 1<<24)},
		{Flag: "shed-cpu", Key: "shedding.cpu", Value: "F", Default: "0.80", Help: "share of the CPU above which requests are refused, lowest priority first; 0 turns that off", set: share(func(d *draft) *float64 { return &d.ShedCPU })},
		{Flag: "drain", Key: "drain.accept_for", Value: "D", Default: "5s", Help: "when stopping, go on accepting for this long", set: duration(func(d *draft) *time.Duration { return &d.Drain.AcceptFor })},
		{Flag: "drain-finish", Key: "drain.finish_in", Value: "D", Default: "30s", Help: "then give requests in flight this long to finish", set: duration(func(d *draft) *time.Duration { return &d.Drain.FinishIn })},
		{Flag: "log-level", Key: "log.level", Value: "LEVEL", Default: "info", Help: "debug, info, warn or error", set: logLevel},
		{Flag: "log-format", Key: "log.format", Value: "json|console", Absent: "console on a terminal, else json", Help: "how log lines are written", set: choice(func(d *draft) *string { return &d.Log.Format }, "json", "console")},
		{Flag: "requests", Key: "requests.records", Value: "N", Default: "100000", Help: "requests remembered for meshgw trace", set: number(func(d *draft) *int { return &d.Requests.Records }, 16, 1<<24)},
		{Flag: "requests-bytes", Key: "requests.bytes", Value: "N", Default: "67108864", Help: "memory for them, at most", set: number(func(d *draft) *int { return &d.Requests.Bytes }, 1<<20, 1<<34)},
		{Flag: "access-log", Key: "log.access", Value: "all|errors|off|RATIO", Default: "all", Help: "requests logged; a ratio keeps errors and slow ones besides", set: accessLog},
		{Flag: "access-log-slow", Key: "log.slow", Value: "D", Default: "1s", Help: "requests that take this long are slow: logged whatever the ratio, and remembered longer", set: duration(func(d *draft) *time.Duration { return &d.Log.Access.Slow })},
		{Flag: "allow-chaos", Key: "allow_chaos", Help: "obey the admin API's /v1/chaos, which breaks this node for a test", set: onOff(func(d *draft) *bool { return &d.AllowChaos })},
		{Flag: "otlp", Key: "tracing.otlp", Value: "URL", Absent: "off", Help: "OpenTelemetry collector that gets traces: http://HOST:4318, grpc://HOST:4317, or https, grpcs", set: collectorURL},
		{Flag: "trace-ratio", Key: "tracing.ratio", Value: "F", Default: "0.01", Help: "share of the traces begun here that are sampled, 0 to 1; requests that fail are traced besides", set: share(func(d *draft) *float64 { return &d.Tracing.Ratio })},
	}
}

func text(field func(*draft) *string) func(*draft, []string) error {
	return func(d *draft, values []string) error {
		if values[0] == "" {
			return errors.New("empty")
		}
		*field(d) = values[0]
		return nil
	}
}

func secret(field func(*draft) *Secret) func(*draft, []string) error {
	return func(d *draft, values []string) error {
		*field(d) = Secret(values[0])
		return nil
	}
}

func name(field func(*draft) *string, shortest, longest int) func(*draft, []string) error {
	return func(d *draft, values []string) error {
		if err := checkName(values[0], shortest, longest); err != nil {
			return err
		}
		*field(d) = values[0]
		return nil
	}
}

func checkName(name string, shortest, longest int) error {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
	if len(name) < shortest || len(name) > longest || strings.Trim(name, allowed) != "" {
		return fmt.Errorf("%q: want %d to %d of A-Z a-z 0-9 . _ -", name, shortest, longest)
	}
	return nil
}

func number(field func(*draft) *int, low, high int) func(*draft, []string) error {
	return func(d *draft, values []string) error {
		n, err := strconv.Atoi(values[0])
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q: want a whole number, %d to %d", values[0], low, high)
		}
		*field(d) = n
		return nil
	}
}

func share(field func(*draft) *float64) func(*draft, []string) error {
	return func(d *draft, values []string) error {
		f, err := strconv.ParseFloat(values[0], 64)
		if err != nil || !(f >= 0 && f <= 1) { // so that NaN is out
			return fmt.Errorf("%q: want a share from 0 to 1", values[0])
		}
		*field(d) = f
		return nil
	}
}

func duration(field func(*draft) *time.Duration) func(*draft, []string) error {
	return func(d *draft, values []string) error {
		v, err := time.ParseDuration(values[0])
		if err != nil || v < 0 {
			return fmt.Errorf("%q: want a length of time such as 500ms, 30s or 5m", values[0])
		}
		*field(d) = v
		return nil
	}
}

func onOff(field func(*draft) *bool) func(*draft, []string) error {
	return func(d *draft, values []string) error {
		on, err := strconv.ParseBool(values[0])
		if err != nil {
			return fmt.Errorf("%q: want true or false", values[0])
		}
		*field(d) = on
		return nil
	}
}

func choice(field func(*draft) *string, of ...string) func(*draft, []string) error {
	return func(d *draft, values []string) error {
		if !slices.Contains(of, values[0]) {
			return fmt.Errorf("%q: want one of %s", values[0], strings.Join(of, ", "))
		}
		*field(d) = values[0]
		return nil
	}
}

func address(field func(*draft) *string) func(*draft, []string) error {
	return func(d *draft, values []string) error {
		if err := checkAddress(values[0]); err != nil {
			return err
		}
		*field(d) = values[0]
		return nil
	}
}

func checkAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q: want HOST:PORT or :PORT, port 0 for a free one", addr)
	}
	return nil
}

// adminAddress takes a URL too: MESHGW_ADMIN is also what tells the client
// commands where to ask, and one value shall serve both on a machine.
func adminAddress(d *draft, values []string) error {
	addr := strings.TrimSuffix(strings.TrimPrefix(values[0], "http://"), "/")
	return address(func(d *draft) *string { return &d.Listen.Admin })(d, []string{addr})
}

func seeds(d *draft, values []string) error {
	var errs []error
	for _, seed := range values {
		host := strings.TrimPrefix(seed, "dnssrv+")
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			if err := checkAddress(host); err != nil {
				errs = append(errs, fmt.Errorf("%q: want HOST, HOST:PORT or dnssrv+NAME", seed))
			}
		} else if host == "" || strings.ContainsAny(host, "/@") {
			errs = append(errs, fmt.Errorf("%q: want HOST, HOST:PORT or dnssrv+NAME", seed))
		}
	}
	d.Gossip.Join = values
	return errors.Join(errs...)
}

func networks(field func(*draft) *[]netip.Prefix) func(*draft, []string) error {
	return func(d *draft, values []string) error {
		var (
			errs []error
			all  []netip.Prefix
		)
		for _, v := range values {
			prefix, err := netip.ParsePrefix(v)
			if addr, addrErr := netip.ParseAddr(v); addrErr == nil {
				prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%q: want a network such as 10.0.0.0/8", v))
			}
			all = append(all, prefix.Masked())
		}
		*field(d) = all
		return errors.Join(errs...)
	}
}

func logLevel(d *draft, values []string) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, values[0]) {
		return fmt.Errorf("%q: want one of debug, info, warn, error", values[0])
	}
	level, err := zerolog.ParseLevel(values[0])
	d.Log.Level = level
	return err
}

func collectorURL(d *draft, values []string) error {
	d.Tracing.OTLP = values[0]
	return tracing.CheckURL(values[0])
}

func accessLog(d *draft, values []string) error {
	slow := d.Log.Access.Slow
	switch v := values[0]; v {
	case "all":
		d.Log.Access = AccessLog{Slow: slow}
	case "errors":
		d.Log.Access = AccessLog{Slow: slow, ErrorsOnly: true}
	case "off":
		d.Log.Access = AccessLog{Slow: slow, Off: true}
	default:
		ratio, err := strconv.ParseFloat(v, 64)
		if err != nil || !(ratio >= 0 && ratio <= 1) { // so that NaN is out
			return fmt.Errorf("%q: want all, errors, off or a ratio from 0 to 1", v)
		}
		d.Log.Access = AccessLog{Slow: slow, ErrorsOnly: ratio == 0, Ratio: ratio}
	}
	return nil
}
