package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

var update = flag.Bool("update", false, "rewrite the pages that are made from the code")

func TestLoadTakesFlagsOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := write(t, "node: {name: of-file, region: of-file, zone: of-file}\n")
	env := []string{"MESHGW_REGION=of-env", "MESHGW_ZONE=of-env", "MESHGW_NODE=", "OTHER=1"}
	cfg, err := Load(map[string][]string{"zone": {"of-flag"}}, env, file)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Identity{Name: "of-file", Region: "of-env", Zone: "of-flag", Weight: 100}); cfg.Node != want {
		t.Errorf("node = %+v, want %+v", cfg.Node, want)
	}
}

func TestLoadTakesTheFileNamedByTheEnvironment(t *testing.T) {
	cfg, err := Load(nil, []string{"MESHGW_CONFIG=" + write(t, "node: {weight: 7}")}, "")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Node.Weight != 7 {
		t.Errorf("weight = %d, want 7", cfg.Node.Weight)
	}
}

func TestLoadReadsEveryKeyOfTheFile(t *testing.T) {
	got, err := Load(nil, nil, filepath.Join("testdata", "full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Node: Identity{Name: "eu-1", Region: "eu", Zone: "a", Weight: 200},
		Listen: Listen{
			HTTP: ":80", HTTPS: ":443", Mesh: ":7444", Admin: "127.0.0.1:0",
			Certificates: []Certificate{{Cert: "a.pem", Key: "a.key"}, {Cert: "b.pem", Key: "b.key"}},
			ClientCA:     "clients.pem",
			More: []MoreListener{
				{Name: "internal", Address: "127.0.0.1:8081"},
				{Name: "partners", Address: ":9443", TLS: &MoreTLS{Certificates: []Certificate{{Cert: "p.pem", Key: "p.key"}}, ClientCA: "partners.pem"}},
			},
		},
		Gossip: Gossip{
			Bind: "10.0.0.1:7946", Advertise: "192.0.2.1:7946", RPC: "127.0.0.1:7373", RPCAuth: "s3cret",
			Join: []string{"10.0.0.2", "10.0.0.3:7947", "dnssrv+mesh.example.com"}, KeyringFile: "testdata/keyring.json", Profile: "wan", Streams: "prefer",
		},
		Drain:          Drain{AcceptFor: time.Second, FinishIn: time.Minute},
		Tracing:        Tracing{OTLP: "https://otel.example.com:4318", Ratio: 0.5},
		Requests:       Requests{Records: 5000, Bytes: 8 << 20},
		Log:            Log{Level: zerolog.WarnLevel, Format: "json", Access: AccessLog{Ratio: 0.01, Slow: 250 * time.Millisecond}},
		DataDir:        "/var/lib/meshgw",
		RoutesFile:     "/etc/meshgw/routes.yaml",
		ReadyFile:      "/run/meshgw/ready.json",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32")},
		ProxyProtocol:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		AdminTLS:       AdminTLS{Certificate: Certificate{Cert: "admin.pem", Key: "admin.key"}, ClientCA: "ops.pem"},
		MeshTLS:        MeshTLS{CA: "ca.pem", Cert: "node.pem", Key: "node.key"},
		ShedCPU:        0.7,
		MaxConns:       20000,
		MaxConnsPerIP:  100,
		MaxInflight:    1000, AdminTokensFile: "/etc/meshgw/tokens", Insecure: true, AllowChaos: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("config = %+v\nwant     %+v", got, want)
	}
}

// The file of the test above shall not fall behind the table.
func TestTheFullFileHasEveryKeyOfTheTable(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings() {
		last := s.Key[strings.LastIndex(s.Key, ".")+1:]
		if !strings.Contains(string(data), last+":") {
			t.Errorf("full.yaml lacks %s", s.Key)
		}
	}
}

func TestEverySettingCanBeGivenByFlagAndEnvironment(t *testing.T) {
	values := map[string]string{
		"weight": "5", "http": ":1", "https": ":1", "admin": "127.0.0.1:1", "mesh": "127.0.0.1:1", "shed-cpu": "0.5", "bind": "127.0.0.1:1", "advertise": "10.0.0.1:1",
		"rpc": "127.0.0.1:1", "keyring": "testdata/keyring.json", "profile": "local", "mesh-streams": "prefer", "insecure": "true", "trusted-proxies": "10.0.0.0/8", "proxy-protocol": "10.0.0.0/8",
		"max-inflight": "9", "max-connections": "99", "max-connections-per-client": "9", "drain": "1s", "drain-finish": "2s", "requests": "99", "requests-bytes": "2000000", "log-level": "debug", "log-format": "console", "access-log": "off", "access-log-slow": "2s", "allow-chaos": "true", "otlp": "http://h:4318", "trace-ratio": "0.2",
	}
	flags, environ := map[string][]string{}, []string{}
	for _, s := range Settings() {
		value := values[s.Flag]
		if value == "" {
			value = "x"
		}
		flags[s.Flag] = []string{value}
		environ = append(environ, s.Env()+"="+value)
	}
	byFlag, err := Load(flags, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	byEnv, err := Load(nil, environ, "")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(byFlag, byEnv) {
		t.Errorf("by flag %+v\nby environment %+v", byFlag, byEnv)
	}
	for _, field := range zeroFields(reflect.ValueOf(byFlag), "Config") {
		if field != "Config.Listen.More" && field != "Config.Log.Access.ErrorsOnly" && field != "Config.Log.Access.Ratio" { // off
			t.Errorf("%s: still zero", field)
		}
	}
}

func zeroFields(v reflect.Value, path string) []string {
	if v.Kind() != reflect.Struct {
		if v.IsZero() && path != "Config.Log.Level" { // zerolog.DebugLevel is 0
			return []string{path}
		}
		return nil
	}
	var all []string
	for i := range v.NumField() {
		all = append(all, zeroFields(v.Field(i), path+"."+v.Type().Field(i).Name)...)
	}
	return all
}

func TestLoadReportsEveryMistakeWithItsPlace(t *testing.T) {
	file := write(t, `node:
  wieght: 5
  weight: heavy
  region: [a, b]
listen: 8080
gossip:
  join: [ok.example.com, "bad:port"]
  keyring_file: {a: b}
nonsense:
  a: 1
  b: 2
log: {level: loud, access: 1.5}
drain: {accept_for: 5}
`)
	flags := map[string][]string{"weight": {"70000"}, "node": {"a b"}, "trusted-proxies": {"10.0.0.0/8,x"}, "surprise": {"1"}}
	_, err := Load(flags, []string{"MESHGW_DRAIN=soon", "MESHGW_INSECURE=perhaps"}, file)
	if !errors.Is(err, ErrSettings) {
		t.Fatalf("err = %v, want ErrSettings", err)
	}
	want := []string{
		file + `:2:3: unknown key node.wieght`,
		file + `:3:11: node.weight: "heavy": want a whole number, 1 to 65535`,
		file + `:4:11: node.region: want one value, not a list`,
		file + `:5:9: listen: want keys and values below it`,
		file + `:7:10: gossip.join: "bad:port": want HOST, HOST:PORT or dnssrv+NAME`,
		file + `:8:18: unknown key gossip.keyring_file.a`,
		file + `:9:1: unknown key nonsense`,
		file + `:12:14: log.level: "loud": want one of debug, info, warn, error`,
		file + `:12:28: log.access: "1.5": want all, errors, off or a ratio from 0 to 1`,
		file + `:13:21: drain.accept_for: "5": want a length of time such as 500ms, 30s or 5m`,
		`MESHGW_INSECURE: "perhaps": want true or false`,
		`MESHGW_DRAIN: "soon": want a length of time such as 500ms, 30s or 5m`,
		`--node: "a b": want 1 to 128 of A-Z a-z 0-9 . _ -`,
		`--weight: "70000": want a whole number, 1 to 65535`,
		`--trusted-proxies: "x": want a network such as 10.0.0.0/8`,
		`--surprise: unknown flag`,
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", err, strings.Join(want, "\n"))
	}
}

func TestLoadRefusesFilesThatAreNoSettings(t *testing.T) {
	for name, test := range map[string]struct{ file, want string }{
		"syntax":         {"node: {name: a\n", ":2:1: while parsing a flow mapping: "},
		"same key twice": {"node: {name: a}\nnode: {name: b}\n", ":2:1: "},
		"two documents":  {"node: {name: a}\n---\nnode: {name: b}\n", "want one document"},
		"a list":         {"- a\n- b\n", "want one value, not a list"},
		"a word":         {"hello\n", ":1:1: settings: want keys and values below it"},
		"an alias":       {"node: {name: &a x, region: *a}\n", "node.name: want a plain value"},
		"a merge":        {"node: {<<: {name: x}}\n", "unknown key node.<<"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(nil, nil, write(t, test.file))
			if !errors.Is(err, ErrSettings) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("err = %v, want ErrSettings with %q", err, test.want)
			}
		})
	}
}

func TestLoadTakesFilesThatSayNothing(t *testing.T) {
	for _, file := range []string{"", "# nothing\n", "node:\n", "node:\n  name:\ngossip: {join: []}\n"} {
		if _, err := Load(nil, nil, write(t, file)); err != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestLoadRefusesAFileThatIsNotThere(t *testing.T) {
	if _, err := Load(nil, nil, filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, ErrSettings) {
		t.Errorf("err = %v, want ErrSettings", err)
	}
}

func TestLoadRefusesWhatWouldBeOpenToStrangers(t *testing.T) {
	keyring := filepath.Join("testdata", "keyring.json")
	for name, test := range map[string]struct {
		flags map[string][]string
		want  string // empty: it starts
	}{
		"nothing given":                {nil, ""},
		"bind off loopback":            {flagsOf("bind", "10.0.0.1:7946"), "--bind: 10.0.0.1:7946 is not loopback"},
		"bind everywhere":              {flagsOf("bind", ":7946"), "--bind: :7946 is not loopback"},
		"bind a name":                  {flagsOf("bind", "example.com:7946"), "--bind: "},
		"bind loopback":                {flagsOf("bind", "[::1]:0"), ""},
		"bind localhost":               {flagsOf("bind", "localhost:0"), ""},
		"bind with keyring":            {flagsOf("bind", "10.0.0.1:7946", "keyring", keyring), ""},
		"bind insecure":                {flagsOf("bind", "10.0.0.1:7946", "insecure", "true"), ""},
		"admin off loopback":           {flagsOf("admin", ":9901"), "--admin: :9901 is not loopback"},
		"admin with tokens":            {flagsOf("admin", ":9901", "admin-tokens", "tokens"), ""},
		"admin insecure":               {flagsOf("admin", ":9901", "insecure", "true"), ""},
		"admin as a URL":               {flagsOf("admin", "http://127.0.0.1:9901/"), ""},
		"rpc off loopback":             {flagsOf("rpc", ":7373"), "--rpc: :7373 is not loopback"},
		"rpc with key":                 {flagsOf("rpc", ":7373", "rpc-auth", "k"), ""},
		"mesh in clear":                {flagsOf("mesh", "127.0.0.1:0"), "--mesh: the mesh link would be in clear"},
		"mesh insecure":                {flagsOf("mesh", "127.0.0.1:0", "insecure", "true"), ""},
		"mesh insecure off loopback":   {flagsOf("mesh", ":7443", "insecure", "true"), "--mesh: :7443 is not loopback"},
		"mesh with certificates":       {flagsOf("mesh", ":7443", "mesh-ca", "a", "mesh-cert", "c", "mesh-key", "k"), ""},
		"mesh certificate alone":       {flagsOf("mesh-cert", "c"), "--mesh-cert: a secure mesh link needs all of"},
		"https without certificate":    {flagsOf("https", ":0"), "--https: HTTPS needs a certificate"},
		"certificate without key":      {flagsOf("tls-cert", "c"), "--tls-cert: certificate c has no key"},
		"key without certificate":      {flagsOf("tls-key", "k"), "--tls-key: key k has no certificate"},
		"keyring that is not there":    {flagsOf("keyring", "none"), "--keyring: read keyring: "},
		"keyring without a key":        {flagsOf("keyring", write(t, "[]")), "holds no key"},
		"keyring of something else":    {flagsOf("keyring", write(t, "hello")), "want a JSON array of base64 keys"},
		"keyring with a key too short": {flagsOf("keyring", write(t, `["c2hvcnQ="]`)), "key 1: want 16, 24 or 32 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(test.flags, nil, "")
			if test.want == "" && err != nil {
				t.Errorf("err = %v, want none", err)
			}
			if test.want != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("err = %v, want ErrRefused with %q", err, test.want)
			}
		})
	}
}

func TestLoadNamesThePlaceOfWhatItRefuses(t *testing.T) {
	file := write(t, "gossip:\n  bind: 10.0.0.1:7946\n")
	_, err := Load(nil, []string{"MESHGW_ADMIN=:9901"}, file)
	want := file + ":2:9: gossip.bind: 10.0.0.1:7946 is not loopback and gossip would be in clear: give --keyring or --insecure\n" +
		"MESHGW_ADMIN: :9901 is not loopback and anybody could change routes there: give --admin-tokens or --insecure"
	if err == nil || err.Error() != want {
		t.Errorf("err = %v\nwant %s", err, want)
	}
}

func TestFurtherListenersAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"5":                                     ":2:9: listen.more: want a list of listeners",
		"[{name: a, address: \":1\", prot: x}]": ":2:35: unknown field \"prot\"",
		"[{name: https, address: \":1\"}]":      "name \"https\": taken by another listener",
		"[{name: a b, address: \":1\"}]":        "name \"a b\": want 1 to 64",
		"[{name: a, address: x}]":               "address \"x\": want HOST:PORT",
		"[{name: a, address: \":1\", tls: {}}]": "tls needs certificates",
		"[{name: a, address: \":1\"}, {name: a, address: \":2\"}]":       "name \"a\": taken by another listener",
		"[{name: a, address: \":1\", tls: {certificates: [{cert: c}]}}]": "a certificate needs both cert and key",
	} {
		_, err := Load(nil, nil, write(t, "listen:\n  more: "+text+"\n"))
		if !errors.Is(err, ErrSettings) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: err = %v, want %q", text, err, want)
		}
	}
}

func TestDefaultsThatFollowOtherSettings(t *testing.T) {
	for name, test := range map[string]struct {
		flags       map[string][]string
		bind, https string
	}{
		"nothing":     {nil, "127.0.0.1:7946", ""},
		"keyring":     {flagsOf("keyring", "testdata/keyring.json"), "0.0.0.0:7946", ""},
		"certificate": {flagsOf("tls-cert", "c", "tls-key", "k"), "127.0.0.1:7946", ":8443"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Load(test.flags, nil, "")
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Gossip.Bind != test.bind || cfg.Listen.HTTPS != test.https {
				t.Errorf("bind %q, https %q; want %q, %q", cfg.Gossip.Bind, cfg.Listen.HTTPS, test.bind, test.https)
			}
		})
	}
}

func TestTheHTTPSAddressMayStandAlone(t *testing.T) {
	cfg, err := Load(flagsOf("tls-cert", "c", "tls-key", "k"), nil, write(t, "listen: {https: \":444\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Listen.HTTPS != ":444" {
		t.Errorf("https = %q, want :444", cfg.Listen.HTTPS)
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	cfg, err := Load(flagsOf("rpc-auth", "hunter2"), nil, "")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(cfg), fmt.Sprintf("%+v %#v %s", cfg, cfg, cfg.Gossip.RPCAuth), string(asJSON)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestWarningsOfAKeyring(t *testing.T) {
	open := write(t, `["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]`)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(flagsOf("keyring", open), nil, "")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(cfg.Warnings(), "\n")
	for _, want := range []string{"--rpc-auth", "mode 0600"} {
		if !strings.Contains(all, want) {
			t.Errorf("warnings %q lack %q", all, want)
		}
	}
}

// FuzzSettingsFile holds that no file makes Load panic, and that what it says
// of a file's mistakes has a place in it.
func FuzzSettingsFile(f *testing.F) {
	full, err := os.ReadFile(filepath.Join("testdata", "full.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte("node: {wieght: 5}\nlisten: {https: {certificates: [{cert: a}, 5]}}\n"))
	f.Add([]byte("a: &a [*a]\n---\n- |\n  x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := draft{origin: map[string]string{}}
		d.document("f.yaml", data)
		for _, err := range d.mistakes {
			if !strings.HasPrefix(err.Error(), "f.yaml") {
				t.Errorf("no place: %v", err)
			}
		}
	})
}

func TestTheSettingsPageIsOfThisTable(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "settings.md")
	want := settingsPage()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not of this table: run go test ./node/config -run SettingsPage -update", page)
	}
}

func settingsPage() string {
	var b strings.Builder
	b.WriteString(`# Settings of a node

Flags of ` + "`meshgw agent`" + ` win over the environment, which wins over the file named by ` + "`--config`" + ` (or ` + "`MESHGW_CONFIG`" + `),
which wins over the defaults. The file is YAML. Unknown keys and bad values are reported all at once, each with its place.
A list is written with commas in a flag or variable; such flags may also be given several times.

This page is made from the code by ` + "`go test ./node/config -run SettingsPage -update`" + `.

| flag | variable | file key | default | |
| --- | --- | --- | --- | --- |
`)
	for _, s := range settings() {
		value := strings.ReplaceAll(s.Value, "|", `\|`)
		def := s.Absent
		if s.Default != "" {
			def = "`" + s.Default + "`"
		} else if s.Switch() {
			def = "off"
		}
		flag, variable := "`"+strings.TrimSpace("--"+s.Flag+" "+value)+"`", "`"+s.Env()+"`"
		if s.Flag == "" {
			flag, variable, def = "", "", s.Absent
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s |\n", flag, variable, s.Key, def, s.Help)
	}
	b.WriteString(`
` + "`listen.https`" + ` may also be the address alone. An address is ` + "`HOST:PORT` or `:PORT`" + `; port 0 takes a free one.
`)
	return b.String()
}

func flagsOf(pairs ...string) map[string][]string {
	flags := map[string][]string{}
	for pair := range slices.Chunk(pairs, 2) {
		flags[pair[0]] = append(flags[pair[0]], pair[1])
	}
	return flags
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "meshgw.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
