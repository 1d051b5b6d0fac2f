package auth_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/meshgw/meshgw/auth"
)

func hash(tb testing.TB, password string) string {
	tb.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		tb.Fatal(err)
	}
	return string(h)
}

func passwords(tb testing.TB, lines ...string) *auth.Passwords {
	tb.Helper()
	p, err := auth.ParsePasswords([]byte(strings.Join(lines, "\n")))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func login(name, password string) auth.Login {
	return auth.Login{Name: []byte(name), Password: []byte(password)}
}

func TestLoginsAreCheckedOnceAndRemembered(t *testing.T) {
	var u auth.Users
	if v := u.Recall(login("ann", "x")); v != auth.NoUsers || u.Ready() || u.Check(login("ann", "x")) {
		t.Fatalf("without a file: %v", v)
	}
	u.Set(passwords(t, "# staff", "", "ann:"+hash(t, "apple"), "bob:"+hash(t, "")), [32]byte{1})
	for _, c := range []struct {
		name, password string
		right          bool
	}{
		{"ann", "apple", true},
		{"ann", "Apple", false},
		{"ann", "", false},
		{"bob", "", true},
		{"bob", "apple", false},
		{"eve", "apple", false},
		{"annapple", "", false}, // not the same as ann, apple
		{"an", "napple", false},
	} {
		l := login(c.name, c.password)
		if v := u.Recall(l); v != auth.NotSeen {
			t.Errorf("%s, %s: %v before it was checked", c.name, c.password, v)
		}
		want := auth.Refused
		if c.right {
			want = auth.Admitted
		}
		if got := u.Check(l); got != c.right {
			t.Errorf("%s, %s: got %v", c.name, c.password, got)
		}
		if v := u.Recall(l); v != want {
			t.Errorf("%s, %s: remembered as %v", c.name, c.password, v)
		}
	}
	long := strings.Repeat("p", 73)
	for _, l := range []auth.Login{login("ann", long), login("", "apple"), login(strings.Repeat("n", 256), "apple")} {
		if v := u.Recall(l); v != auth.Refused || u.Check(l) {
			t.Errorf("impossible login: %v", v)
		}
	}
	u.Set(passwords(t, "ann:"+hash(t, "pear")), [32]byte{1})
	if v := u.Recall(login("ann", "apple")); v != auth.NotSeen || u.Check(login("ann", "apple")) {
		t.Error("an old password outlived its file")
	}
}

func TestPasswordFilesAreReadStrictly(t *testing.T) {
	h := hash(t, "x")
	for text, want := range map[string]string{
		"":                                   "nobody",
		"# nobody":                           "nobody",
		"ann":                                "line 1",
		":" + h:                              "line 1",
		"\nann:secret":                       "line 2: want a bcrypt hash",
		"ann:{SHA}VBPuJHI7uixaa6LQGWx4s+5G":  "bcrypt",
		"ann:$apr1$lZL6V/ci$eIMz/iKDkbtys/u": "bcrypt",
		"ann:" + h + "\nann:" + h:            "line 2: name is there already",
		"ann:$2b$15$" + h[7:]:                "15, more than 14",
		strings.Repeat("x", 70_000):          "too long",
	} {
		_, err := auth.ParsePasswords([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "VBP")) {
			t.Errorf("%v shows what is in the file", err)
		}
	}
}

func TestBasicReadsWhatClientsSend(t *testing.T) {
	encode := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, c := range []struct {
		field, name, password string
		ok                    bool
	}{
		{encode("ann:apple"), "ann", "apple", true},
		{encode("ann:a:b"), "ann", "a:b", true},
		{"bAsIc  " + encode("ann:")[6:] + " ", "ann", "", true},
		{encode("ann"), "", "", false},
		{encode(":apple"), "", "", false},
		{encode(strings.Repeat("n", 300) + ":" + strings.Repeat("p", 30)), "", "", false},
		{"Basic", "", "", false},
		{"Basic  ", "", "", false},
		{"Basic !", "", "", false},
		{"Bearer " + encode("ann:apple")[6:], "", "", false},
		{"", "", "", false},
	} {
		l, ok := auth.Basic(nil, []byte(c.field))
		if ok != c.ok || ok && (string(l.Name) != c.name || string(l.Password) != c.password) {
			t.Errorf("%q: got %q %q %v", c.field, l.Name, l.Password, ok)
		}
	}
	for field, want := range map[string]string{"Bearer abc": "abc", "BEARER  abc ": "abc", "Bearer": "", "Bearer ": "", "Basic abc": "", "Bearerabc": ""} {
		if got, ok := auth.Bearer([]byte(field)); string(got) != want || ok != (want != "") {
			t.Errorf("%q: got %q %v", field, got, ok)
		}
	}
}

func TestCertificatesHaveTheirAlternativeNamesAlone(t *testing.T) {
	uri, _ := url.Parse("spiffe://mesh/orders")
	leaf := &x509.Certificate{
		DNSNames: []string{"Orders.Example.com"}, EmailAddresses: []string{"Ann@example.com"},
		IPAddresses: []net.IP{net.ParseIP("10.0.0.1")}, URIs: []*url.URL{uri}, NotAfter: start,
	}
	leaf.Subject.CommonName = "root"
	c := auth.NewCertificate(leaf)
	want := []string{"orders.example.com", "Ann@example.com", "10.0.0.1", "spiffe://mesh/orders"}
	if !slices.Equal(c.Names(), want) {
		t.Errorf("got %q, want %q", c.Names(), want)
	}
	if !c.Valid(start) || c.Valid(start.Add(time.Second)) {
		t.Error("a certificate holds until its end")
	}
}

func TestAKeyIsKnownByItsHashAlone(t *testing.T) {
	// As `printf %s abc | sha256sum` has it.
	const want = "\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad"
	if got := auth.HashKey([]byte("abc")); string(got[:]) != want {
		t.Errorf("got %x", got)
	}
}

func TestLoginsSeenBeforeDoNotAllocate(t *testing.T) {
	var u auth.Users
	u.Set(passwords(t, "ann:"+hash(t, "apple")), [32]byte{})
	field := []byte("Basic " + base64.StdEncoding.EncodeToString([]byte("ann:apple")))
	u.Check(login("ann", "apple"))
	scratch := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() {
		l, _ := auth.Basic(scratch, field)
		if u.Recall(l) != auth.Admitted {
			t.Fatal("forgotten")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBasicReadsBackWhatWasWritten(t *testing.T) {
	if err := quick.Check(func(name, password []byte) bool {
		name, password = name[:min(len(name), 255)], password[:min(len(password), 72)]
		field := []byte("Basic " + base64.StdEncoding.EncodeToString(append(append(bytes.Clone(name), ':'), password...)))
		l, ok := auth.Basic(nil, field)
		if len(name) == 0 || bytes.IndexByte(name, ':') >= 0 {
			return !ok || !bytes.Equal(l.Name, name)
		}
		return ok && bytes.Equal(l.Name, name) && bytes.Equal(l.Password, password)
	}, nil); err != nil {
		t.Error(err)
	}
}

func FuzzPasswords(f *testing.F) {
	f.Add([]byte("# x\nann:" + hash(f, "apple") + "\r\n"))
	f.Add([]byte("ann:$2y$31$"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := auth.ParsePasswords(data)
		if err != nil {
			return
		}
		var u auth.Users
		u.Set(p, [32]byte{})
		if !u.Ready() || u.Recall(login("\x00", "\x00")) != auth.NotSeen {
			t.Error("a file without effect")
		}
	})
}

func FuzzBasic(f *testing.F) {
	f.Add("Basic YW5uOmFwcGxl")
	f.Add("Basic Og==")
	f.Fuzz(func(t *testing.T, field string) {
		l, ok := auth.Basic(nil, []byte(field))
		if ok && (len(l.Name) == 0 || bytes.IndexByte(l.Name, ':') >= 0) {
			t.Errorf("%q: name %q", field, l.Name)
		}
	})
}

func BenchmarkHashKey(b *testing.B) {
	key := []byte(strings.Repeat("k", 64))
	b.ReportAllocs()
	for b.Loop() {
		if auth.HashKey(key)[0] == 0 {
			b.Fatal("another hash")
		}
	}
}

func BenchmarkLoginSeen(b *testing.B) {
	var u auth.Users
	u.Set(passwords(b, "ann:"+hash(b, "apple")), [32]byte{})
	u.Check(login("ann", "apple"))
	b.ReportAllocs()
	for b.Loop() {
		if u.Recall(login("ann", "apple")) != auth.Admitted {
			b.Fatal("forgotten")
		}
	}
}
