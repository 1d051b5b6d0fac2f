package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
	"github.com/meshgw/meshgw/gossip"
)

// A liar is a state of one who holds the key: it always differs, has nothing, and
// takes nothing in.
type liar struct{}

func (liar) Digest() []byte               { return []byte(time.Now().String()) }
func (liar) Delta([]byte) ([]byte, error) { return nil, nil }
func (liar) Changes(int) ([]byte, bool)   { return nil, false }
func (liar) Merge([]byte) error           { return nil }

// keyHolder joins a mesh with its key and nothing else of a node.
func keyHolder(t *testing.T, w *world, seed *process) *gossip.Mesh {
	t.Helper()
	states := map[string]gossip.State{}
	for _, name := range []string{"nodes", "routes", "health", "limits", "bans"} {
		states[name] = liar{}
	}
	m, err := gossip.New(gossip.Config{
		Name: "eve", ID: "eve", Region: "\xff\xfe not text", Bind: "127.0.0.1:0", Seeds: []string{seed.listen.Gossip}, KeyringFile: w.keyring, Profile: "local",
	}, states, zerolog.Nop())
	if err == nil {
		err = m.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return m
}

func wireBytes(num protowire.Number, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
}

func wireNumber(num protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), n)
}

// routeNews is a changeset of eve's, as routetable has it on the wire.
func routeNews(version uint64, name, object string) []byte {
	stamp := append(wireNumber(1, version), wireBytes(2, []byte("eve"))...)
	entry := wireBytes(1, wireBytes(1, []byte("route")), wireBytes(2, []byte(name)), wireBytes(3, stamp), wireBytes(6, []byte(object)))
	return append(wireNumber(1, 1), wireBytes(2, wireBytes(1, stamp), wireBytes(7, entry))...)
}

func entry(key string, version uint64, value []byte) []byte {
	return crdt.Entry{Key: key, Version: version, Value: value}.Append(nil)
}

// many is a million of what make makes.
func many(piece func(i int) []byte) (all []byte) {
	for i := range 1_000_000 {
		all = append(all, piece(i)...)
	}
	return all
}

// lies are what no node says, by state.
func lies(million []byte) map[string]map[string][]byte {
	const highest = math.MaxUint64
	long := strings.Repeat("x", 1<<20)
	all := map[string]map[string][]byte{
		"routes": {
			"a version far ahead": routeNews(1<<40, "r", `{"name":"r"}`),
			"the highest version": routeNews(highest, "r", `{"name":"r"}`),
			"no UTF-8":            routeNews(100, "r", "{\"name\":\"\xff\xfe\"}"),
			"a name that is none": routeNews(100, "../../etc", `{"name":"r"}`),
			"an object too large": routeNews(100, "r", `{"name":"`+long+`"}`),
			"no JSON":             routeNews(100, "r", `{"name":`),
			"an unknown format":   wireNumber(1, 99),
			"a million objects": append(wireNumber(1, 1), wireBytes(3, many(func(i int) []byte {
				return wireBytes(1, wireBytes(1, []byte("route")), wireBytes(2, fmt.Append(nil, "r", i)), wireBytes(3, wireNumber(1, 5), wireBytes(2, []byte("eve"))))
			}))...),
			"a million authors": append(wireNumber(1, 1), wireBytes(3, many(func(i int) []byte { return wireBytes(2, wireNumber(1, 1), wireBytes(2, fmt.Append(nil, "n", i))) }))...),
		},
		"nodes": {
			"no UTF-8 in a name":       entry("eve", 1<<32, wireBytes(1, []byte("\xff\xfe"))),
			"a load that is no number": entry("eve", 1<<32, protowire.AppendFixed32(protowire.AppendTag(nil, 15, protowire.Fixed32Type), 0x7fc00000)),
			"a word of a megabyte":     entry("eve", 1<<32, wireBytes(1, []byte(long))),
		},
		"health": {
			"no UTF-8 in a reason":     entry("verdicts/eve", 1<<32, wireBytes(3, wireBytes(6, []byte("\xff")))),
			"a rate that is no number": entry("loads/eve", 1<<32, wireBytes(3, protowire.AppendFixed32(protowire.AppendTag(nil, 2, protowire.Fixed32Type), 0x7fc00000))),
			"more verdicts than are":   entry("verdicts/eve", 1<<32, many(func(int) []byte { return wireBytes(3) })),
		},
		"limits": {
			"a secret of another length": entry("secret", 7, []byte("short")),
			"a record that is none":      entry("charged/00/1/1", 7, []byte("\x01junk")),
			"another record's key":       entry("charged/00/1/1", 7, append([]byte{1}, make([]byte, 31)...)),
		},
		"bans": {
			"no network":           entry("everybody", 7, nil),
			"a ban without an end": entry("192.0.2.0/24", 7, wireBytes(1, []byte("x"))),
		},
	}
	for _, state := range []string{"nodes", "health", "limits", "bans"} {
		all[state]["the highest version"] = entry("eve", highest, nil)
		all[state]["a key without text"] = entry("\xff\xfe", 7, nil)
		all[state]["a key of a megabyte"] = entry(long, 7, nil)
		all[state]["a million entries"] = million
	}
	for state := range all {
		all[state]["noise"] = []byte("\xff\xff\xff\xff noise \x00\x01")
		all[state]["cut off"] = routeNews(100, "r", `{"name":"r"}`)[:20]
		all[state]["a length past the end"] = protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.BytesType), 1<<40)
	}
	return all
}

// Who holds the key may say what it likes; what no node could have said is refused
// and counted, and nobody is the worse for it.
func TestWhatAKeyHolderCannotMeanIsRefusedAndCounted(t *testing.T) {
	w := newWorld(t)
	e := startEndpoint(t, 0)
	calm := []string{"--access-log", "errors", "--shed-cpu", "0"} // however busy the machine is
	a := w.start("a", append(calm, "--routes", w.upstreamFile(map[string][]*endpoint{"default": {e}}))...)
	b := w.start("b", append(calm, "--join", a.listen.Gossip)...)
	allSee(t, 10*time.Second, a, b)
	serve(t, a, b)
	before, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	load := startLoad(t, "GET", "/", 100, a, b)
	rss := a.warmMiB()
	eve := keyHolder(t, w, a)
	allSees := []string{"a", "b", "eve"}
	eventually(t, 10*time.Second, "eve is a member", func() error { return errors.Join(a.sees(allSees...), b.sees(allSees...), seesAlive(eve, "a", "b")) })

	ask := func(service string, request []byte) error { // again where the answer takes longer than 5 s, for want of CPU
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		for {
			_, err := eve.Call(ctx, "a", service, request)
			if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() || ctx.Err() != nil {
				return err
			}
		}
	}
	million := many(func(i int) []byte { return entry(fmt.Sprint("e", i), 1, nil) })
	for state, all := range lies(million) {
		refused := func() float64 { return refusals(t, a, fmt.Sprintf("what=%q", state)) }
		for lie, data := range all {
			counted := refused()
			if err := ask("deliver", append(wireBytes(1, []byte(state)), wireBytes(3, data)...)); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("%s, %s: %v, want a refusal", state, lie, err)
			} else if refused() == counted {
				t.Errorf("%s, %s: refused (%v) and not counted", state, lie, err)
			}
		}
		for what, digest := range map[string][]byte{"noise": []byte("\xff\xff noise"), "a million entries": million} {
			if err := ask("sync", append(wireBytes(1, []byte(state)), wireBytes(2, digest)...)); err == nil {
				t.Errorf("%s: a digest of %s was read", state, what)
			}
		}
	}
	for _, service := range []string{"who", "sync", "deliver", "explain", "request", "keys", "traffic", "facts", "events", "limits", "none"} {
		for _, request := range [][]byte{nil, []byte("\xff\xff noise"), make([]byte, 8<<20)} {
			_ = ask(service, request) // what it may read it reads
		}
	}
	for i := range 3000 {
		junk := fmt.Appendf(nil, "\x01%016x junk", i)
		eve.Datagram("a", "limits", junk[:i%len(junk)])
		eve.Datagram("a", "none", junk)
	}
	eventually(t, time.Second, "datagrams are refused", func() error {
		if refusals(t, a, `what="limit_report"`)+refusals(t, a, `what="frame"`) == 0 {
			return errors.New("none")
		}
		return nil
	})

	results := load.stop()
	t.Logf("p99 %v of %d requests, %d failed; %d MiB resident, %d before", p99(results), len(results), count(results, failed), residentMiB(t, a.cmd.Process.Pid), rss)
	if n := count(results, failed); n > 0 {
		t.Errorf("%d of %d requests failed", n, len(results))
	}
	after, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	if after.Routes.Digest != before.Routes.Digest || after.Routes.Version != before.Routes.Version {
		t.Errorf("the table is %+v, was %+v", after.Routes, before.Routes)
	}
	for _, p := range []*process{a, b} {
		select {
		case <-p.ended:
			t.Errorf("%s has ended: %v", p.name, p.err)
		default:
		}
	}
	w.run("meshgw", "routes", "apply", w.save("more.yaml", []byte("routes: [{name: more, match: [{path: /more}], respond: {status: 200}}]\n")), "--admin", "http://"+b.listen.Admin)
	eventually(t, 10*time.Second, "an edit is served by all", func() error { return errors.Join(a.answers("/more", ""), b.answers("/more", "")) })
}

// refusals is the sum of what a node has refused, of a kind.
func refusals(t *testing.T, p *process, label string) (sum float64) {
	t.Helper()
	text := p.metrics(t)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "meshgw_gossip_refused_total{") && strings.Contains(line, label) {
			var n float64
			_, _ = fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &n)
			sum += n
		}
	}
	return sum
}

// seesAlive reports an error unless m sees these alive.
func seesAlive(m *gossip.Mesh, names ...string) error {
	alive := map[string]bool{}
	for _, member := range m.Members() {
		alive[member.Name] = member.Status == "alive"
	}
	for _, name := range names {
		if !alive[name] {
			return fmt.Errorf("%s is not alive", name)
		}
	}
	return nil
}
