package gossip

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
	"github.com/rs/zerolog"
)

func aloneMesh(t *testing.T) *Mesh {
	t.Helper()
	m, err := New(Config{Name: "a", Bind: "127.0.0.1:0", Datagrams: map[string]func([]byte){"d": func([]byte) { t.Error("a datagram was delivered") }}}, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMembersThatNoNodeIsAreNotBelievedIn(t *testing.T) {
	m := aloneMesh(t)
	g := &aliveGuard{mesh: m}
	for name, want := range map[string]bool{
		"eu-1": true, strings.Repeat("n", maxName): true,
		"": false, "\xff\xfe": false, strings.Repeat("n", maxName+1): false,
	} {
		if err := g.NotifyAlive(&memberlist.Node{Name: name}); (err == nil) != want {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	full := &view{byName: map[string]Member{"known": {}}, members: make([]Member, maxMembers)}
	m.view.Store(full)
	if g.NotifyAlive(&memberlist.Node{Name: "known"}) != nil || g.NotifyAlive(&memberlist.Node{Name: "new"}) == nil {
		t.Error("of a full mesh, members are believed in and no others")
	}
	for region, want := range map[string]string{"eu": "eu", "\xff": "", strings.Repeat("r", 1000): ""} {
		if got := regionOf(serf.Member{Tags: map[string]string{tagRegion: region}}); got != want {
			t.Errorf("region %.20q is taken for %q", region, got)
		}
	}
	if r := m.Stats().Refused; r[Refusal{"member", "name"}] != 3 || r[Refusal{"member", "too_many"}] != 1 {
		t.Errorf("counted %v", r)
	}
}

func TestFramesThatAreNoneAreCounted(t *testing.T) {
	m := aloneMesh(t)
	hashes := make([]hash, maxHashes+1)
	for i := range hashes {
		hashes[i] = hash{state: fmt.Sprint(i)}
	}
	for what, tt := range map[string]struct {
		frame  []byte
		reason string
	}{
		"hashes without end":      {frame{holder: "192.0.2.1:7946", hashes: hashes}.encode()[1:], "malformed"},
		"a holder that is a name": {frame{holder: "evil.example.com:80", hashes: hashes[:1]}.encode()[1:], "malformed"},
		"noise":                   {[]byte("\x01\xff\xff\xff"), "malformed"},
		"more than a packet":      {frame{state: "s", data: bytes.Repeat([]byte("x"), maxHeard)}.encode()[1:], "too_big"},
		"a long datagram":         {frame{service: "d", data: bytes.Repeat([]byte("x"), MaxDatagram+1)}.encode()[1:], "too_big"},
		"a state that is none":    {frame{state: "s", data: []byte("x")}.encode()[1:], "unknown_state"},
		"a service that is none":  {frame{service: "s", data: []byte("x")}.encode()[1:], "unknown_service"},
	} {
		before := m.Stats().Refused[Refusal{"frame", tt.reason}]
		m.hear(tt.frame)
		if after := m.Stats().Refused[Refusal{"frame", tt.reason}]; after != before+1 {
			t.Errorf("%s: %d refused as %s, want %d", what, after, tt.reason, before+1)
		}
	}
}
