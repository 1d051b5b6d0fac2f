package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// Config is the settings of a node: plain data, complete and checked.
// Load makes one; the zero Config is not usable.
type Config struct {
	Node   Identity
	Listen Listen
	Gossip Gossip
	Drain  Drain
	Log    Log

	Requests Requests
	Tracing  Tracing

	DataDir         string         // made if absent
	RoutesFile      string         // empty for none
	ReadyFile       string         // empty for none; holds the addresses once the node serves
	AdminTokensFile string         // empty for none
	AdminTLS        AdminTLS       // zero = in clear
	TrustedProxies  []netip.Prefix // whose forwarding headers are believed
	ProxyProtocol   []netip.Prefix // whose connections begin with a PROXY header
	MaxInflight     int            // requests served at once; 0 = by memory
	MaxConns        int            // connections of clients
	MaxConnsPerIP   int            // of one client; 0 = no bound
	ShedCPU         float64        // share of the CPU from which requests are refused; 0 = never
	MeshTLS         MeshTLS        // of the mesh link; zero = plain
	Insecure        bool           // clear text off loopback is the user's will
	AllowChaos      bool           // it may be broken through the admin API
}

// Identity is how a node presents itself to the mesh.
type Identity struct {
	Name   string // 1 to 128 of A-Z a-z 0-9 . _ -
	Region string // 1 to 64 of the same
	Zone   string // up to 64 of the same
	Weight int    // relative capacity, 1..65535
}

// Listen holds listening addresses as host:port, port 0 for a free one.
type Listen struct {
	HTTP         string
	HTTPS        string // empty = closed
	Mesh         string // link of gateways to each other; empty = closed
	Admin        string
	Certificates []Certificate // of HTTPS; the first is for clients that name no host
	ClientCA     string        // whose certificates HTTPS believes of clients; empty = none is asked for
	More         []MoreListener
}

// Names are those of the listeners for clients.
func (l *Listen) Names() []string {
	all := []string{"http"}
	if len(l.Certificates) > 0 {
		all = append(all, "https")
	}
	for _, more := range l.More {
		all = append(all, more.Name)
	}
	return all
}

// AsksClients reports whether a listener asks clients for certificates.
func (l *Listen) AsksClients() bool {
	return l.ClientCA != "" || slices.ContainsFunc(l.More, func(m MoreListener) bool { return m.TLS != nil && m.TLS.ClientCA != "" })
}

// Certificate names the PEM files of a certificate chain and its key.
type Certificate struct {
	Cert string
	Key  string
}

// MeshTLS names the PEM files that secure the mesh link: the CA of the
// mesh, and this node's certificate with its key. All are given, or none.
type MeshTLS struct {
	CA, Cert, Key string
}

// AdminTLS names the PEM files that secure the admin listener.
type AdminTLS struct {
	Certificate
	ClientCA string // whose certificates it believes of clients; empty = none is asked for
}

// Gossip is how a node is reached by its peers and finds them.
type Gossip struct {
	Bind        string   // host:port, for TCP and UDP
	Streams     string   // require or prefer certificates, where the mesh has them
	Advertise   string   // host:port that peers are told; empty = detected, port 0 = the bound one
	RPC         string   // host:port of Serf's RPC
	RPCAuth     Secret   // empty for none
	Join        []string // seeds: host, host:port or dnssrv+NAME
	KeyringFile string   // empty = in clear
	Profile     string   // local, lan or wan: Serf's timing
}

// Drain is how a node stops.
type Drain struct {
	AcceptFor time.Duration // after the mesh is told and readiness fails
	FinishIn  time.Duration // then, for the requests in flight
}

// Log is what is logged to standard error, and how.
type Log struct {
	Level  zerolog.Level
	Format string // json or console; empty = console on a terminal, else json
	Access AccessLog
}

// AccessLog says of which requests a line is written. The zero AccessLog logs
// all of them.
type AccessLog struct {
	Off        bool          // none
	ErrorsOnly bool          // those that failed
	Ratio      float64       // share of the others, besides those that failed or were slow; 0 = all of them
	Slow       time.Duration // from when a request is slow; it is remembered for longer, too
}

// Requests bounds what a node remembers of requests, for who asks by their
// id. A quarter of both is for those that failed or were slow.
type Requests struct {
	Records int // 0 = telemetry.DefaultRecords
	Bytes   int // 0 = telemetry.DefaultBytes
}

// Tracing is where traces go.
type Tracing struct {
	OTLP  string  // URL of a collector; empty = nowhere
	Ratio float64 // share of the traces begun here that are sampled
}

// Secret is a text that is never printed.
type Secret string

// String hides the secret, and says whether there is one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(set)"
}

// GoString hides the secret from %#v too.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// MarshalText hides the secret in JSON and in logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

var (
	// ErrSettings marks settings that do not parse: a usage error. The error
	// that wraps it tells every error, one a line, each with its place.
	ErrSettings = errors.New("bad settings")

	// ErrRefused marks settings that are understood and that a node refuses to
	// start with. The error that wraps it tells every reason, one a line.
	ErrRefused = errors.New("refused to start")
)

// Load makes the Config of a node from flags (values by flag name, as given)
// over environ (as os.Environ has it) over the YAML file named configFile, or
// by MESHGW_CONFIG where that is empty, over the defaults of Settings.
//
// It reads the file strictly and reports all errors at once: the error wraps
// ErrSettings or ErrRefused. It reads the keyring, to refuse an unusable one.
func Load(flags map[string][]string, environ []string, configFile string) (Config, error) {
	d := draft{origin: map[string]string{}}
	d.defaults()
	env := environment(environ)
	if configFile == "" {
		configFile = env[envPrefix+"CONFIG"]
	}
	if configFile != "" {
		d.file(configFile)
	}
	d.environ(env)
	d.flags(flags)
	d.hostname()
	if len(d.mistakes) > 0 {
		return Config{}, &settingsError{kind: ErrSettings, all: errors.Join(append(d.mistakes, d.refusals...)...)}
	}
	d.resolve()
	if err := errors.Join(d.refusals...); err != nil {
		return Config{}, &settingsError{kind: ErrRefused, all: err}
	}
	return d.Config, nil
}

// settingsError reads as its mistakes alone: each has its place already.
type settingsError struct {
	kind error
	all  error
}

func (e *settingsError) Error() string   { return e.all.Error() }
func (e *settingsError) Unwrap() []error { return []error{e.kind, e.all} }

// draft is a Config in the making.
type draft struct {
	Config
	pair     Certificate       // given by flag or environment, instead of the file's
	origin   map[string]string // where a flag's value came from; absent for defaults
	mistakes []error
	refusals []error
}

func (d *draft) defaults() {
	for _, s := range settings() {
		if s.Default == "" || s.set == nil {
			continue
		}
		if err := s.set(d, s.split(s.Default)); err != nil {
			panic("default of " + s.Flag + ": " + err.Error()) // a promise of the table, kept by its test
		}
	}
}

func (d *draft) environ(env map[string]string) {
	for _, s := range settings() {
		if value := env[s.Env()]; value != "" && s.Flag != "" {
			d.put(s, s.Env(), s.split(value))
		}
	}
}

func (d *draft) flags(flags map[string][]string) {
	known := map[string]bool{}
	for _, s := range settings() {
		known[s.Flag] = true
		values, given := flags[s.Flag]
		if !given {
			continue
		}
		var all []string
		for _, v := range values {
			all = append(all, s.split(v)...)
		}
		d.put(s, "--"+s.Flag, all)
	}
	for name := range flags {
		if !known[name] {
			d.mistake("--"+name, errors.New("unknown flag"))
		}
	}
}

// put sets s to values that come from place, or notes what is wrong with them.
func (d *draft) put(s Setting, place string, values []string) {
	if len(values) == 0 {
		values = []string{""}
	}
	if !s.Many {
		values = values[len(values)-1:]
	}
	if err := s.set(d, values); err != nil {
		d.mistake(place, err)
		return
	}
	d.origin[s.Flag] = place
}

func (d *draft) hostname() {
	if d.Node.Name != "" {
		return
	}
	name, err := os.Hostname()
	if err == nil {
		err = checkName(name, 1, maxNodeName)
	}
	if err != nil {
		d.mistake("--node", fmt.Errorf("take the host's name: %w", err))
		return
	}
	d.Node.Name = name
}

func (d *draft) mistake(place string, err error) {
	d.mistakes = append(d.mistakes, fmt.Errorf("%s: %w", place, err))
}

func (d *draft) refuse(place, format string, args ...any) {
	d.refusals = append(d.refusals, fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...)))
}
