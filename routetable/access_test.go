package routetable_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/replica"
	"github.com/meshgw/meshgw/routetable/routefile"
)

func TestAccessIsReadCheckedAndReplicated(t *testing.T) {
	t.Parallel()
	spec := &routetable.Spec{Access: []routetable.Access{{Name: "office", Allow: &routetable.CIDRs{CIDRs: []string{"10.0.0.0/8"}}, Deny: &routetable.CIDRs{CIDRs: []string{"10.66.0.1"}}}}}
	doc, err := routefile.EncodeYAML(spec)
	if err != nil {
		t.Fatal(err)
	}
	file, err := routefile.Decode(nil, routefile.Source{Data: doc})
	if err != nil {
		t.Fatal(err)
	}
	a, b := replica.NewStore("a"), replica.NewStore("b")
	p, err := a.Prepare(replica.Edit{Spec: file.Spec})
	if err == nil {
		err = a.Commit(p)
	}
	if err != nil {
		t.Fatal(err)
	}
	delta, err := a.Delta(b.Digest())
	if err == nil {
		err = b.Merge(delta)
	}
	if err != nil || a.Table().Digest() != b.Table().Digest() {
		t.Fatalf("%v, digests %s and %s", err, a.Table().Digest(), b.Table().Digest())
	}
	for client, want := range map[string]bool{"10.1.1.1": true, "10.66.0.1": false, "192.0.2.1": false} {
		if got := b.Table().Access().Admits(netip.MustParseAddr(client)); got != want {
			t.Errorf("%s is admitted: %v", client, got)
		}
	}
	if p, err = a.Prepare(replica.Edit{Spec: new(routetable.Spec), Prune: true}); err == nil {
		err = a.Commit(p)
	}
	if err != nil || !a.Table().Access().Admits(netip.MustParseAddr("192.0.2.1")) {
		t.Errorf("%v; the list is there yet", err)
	}
}

func TestMistakesOfAccessHaveTheirPlaces(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		"access:\n  - {name: a}\n":                                                                       "2:6: access[0] (access/a): expected allow or deny",
		"access:\n  - {name: a, allow: {cidrs: [x]}}\n":                                                  "expected a network such as",
		"access:\n  - {name: a, deny: {cidrs: [\"::ffff:10.0.0.0/104\"]}}\n":                             "expected a network such as",
		"access:\n  - {name: a, denies: {cidrs: [10.0.0.0/8]}}\n":                                        `unknown key "denies"`,
		"access: {deny: {cidrs: [10.0.0.0/8]}}\n":                                                        "expected a list",
		"access:\n  - {name: a, deny: {cidrs: []}}\n":                                                    "expected a network",
		"access:\n  - {name: a, allow: {cidrs: [10.0.0.1]}}\n  - {name: a, deny: {cidrs: [10.0.0.1]}}\n": "is there already",
	} {
		file, err := routefile.Decode(nil, routefile.Source{Data: []byte(doc)})
		if err == nil {
			err = file.Validate().Err()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", doc, err, want)
		}
	}
}
