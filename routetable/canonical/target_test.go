package canonical_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/routetable/canonical"
)

func TestTargetsGetTheirCanonicalForm(t *testing.T) {
	for raw, want := range map[string]string{
		"/":                          "/",
		"/a/b":                       "/a/b",
		"//a///b/":                   "/a/b/",
		"/a/./b/../c":                "/a/c",
		"/a/..":                      "/",
		"/a/.":                       "/a/",
		"/%61%2D%7e":                 "/a-~",
		"/a%3ab":                     "/a%3Ab",
		"/%2e/b":                     "/b",
		"/a/%2E%2e/b":                "/b",
		"/%252e%252e/":               "/%252e%252e/",
		"/a|b":                       "/a%7Cb",
		"/caf%c3%a9":                 "/caf%C3%A9",
		"/a;v=1/b":                   "/a;v=1/b",
		"/...":                       "/...",
		"/a?x=/../%00&y":             "/a",
		"http://example.com":         "/",
		"HTTP://example.com/a/../b":  "/b",
		"https://example.com?q":      "/",
		"http://user@host/x":         "/x", // ParseHost refuses the authority
		"*":                          "*",
		"/a%20b":                     "/a%20b",
		"/a/../../" + "a":            "",
		"/..":                        "",
		"/%2e%2e/etc":                "",
		"/a/..;/b":                   "",
		"/.;x/b":                     "",
		"/a%2fb/../c%2Fd":            "/c%2Fd",
		"/%2f":                       "/%2F",
		"/a%252fb":                   "/a%252fb",
		"/a%2f..":                    "",
		"/a%2F%2e;x%2Fb/c":           "",
		"/..%2fb":                    "",
		"/a%5cb":                     "",
		"/a\\b":                      "",
		"/a%00":                      "",
		"/a%0d%0ab":                  "",
		"/a%7f":                      "",
		"/a%":                        "",
		"/a%2":                       "",
		"/a%zz":                      "",
		"/a#b":                       "",
		"/a?b#c":                     "",
		"/a b":                       "",
		"/caf\xc3\xa9":               "",
		"/a?\x01":                    "",
		"":                           "",
		"a":                          "",
		"example.com:80":             "",
		"ftp://example.com/":         "",
		"http:///a":                  "",
		"http://[::1]:80/a":          "/a",
		"/a/b/c/../../../../" + "..": "",
	} {
		got, err := canonical.ParseTarget(nil, []byte(raw))
		if string(got.Path) != want || (err != nil) != (want == "") {
			t.Errorf("ParseTarget(%q) = %q, %v; want %q", raw, got.Path, err, want)
		}
		if err != nil && !errors.Is(err, canonical.ErrTarget) {
			t.Errorf("ParseTarget(%q): %v does not wrap ErrTarget", raw, err)
		}
	}
}

func TestTargetKeepsQueryAndAuthority(t *testing.T) {
	got, err := canonical.ParseTarget(nil, []byte("https://Example.com:8443/a?b=%zz&c"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Scheme != "https" || string(got.Authority) != "Example.com:8443" || string(got.Query) != "b=%zz&c" || !got.HasQuery {
		t.Errorf("got %+v", got)
	}
}

func TestHostsGetTheirCanonicalForm(t *testing.T) {
	for raw, want := range map[string]struct {
		host string
		port int
	}{
		"example.com":       {"example.com", 0},
		"EXAMPLE.com.":      {"example.com", 0},
		"example.com:8080":  {"example.com", 8080},
		"a_b.example":       {"a_b.example", 0},
		"127.0.0.1:80":      {"127.0.0.1", 80},
		"[::1]":             {"[::1]", 0},
		"[0:0:0::1]:443":    {"[::1]", 443},
		"[::FFFF]":          {"[::ffff]", 0},
		"xn--bcher-kva.de":  {"xn--bcher-kva.de", 0},
		"":                  {},
		".":                 {},
		"a..b":              {},
		"a..":               {},
		".a":                {},
		"a@b":               {},
		"a,b":               {},
		"a b":               {},
		"a<b":               {},
		"a/b":               {},
		"a%41":              {},
		"a:":                {},
		"a:0":               {},
		"a:65536":           {},
		"a:99999999":        {},
		"a:+1":              {},
		"a:1:2":             {},
		"b\xc3\xbccher.de":  {},
		"\xff":              {},
		"::1":               {},
		"[::1":              {},
		"[::1]x":            {},
		"[::1%25eth0]":      {},
		"[127.0.0.1]":       {},
		"127.1":             {},
		"0x7f000001":        {},
		"0x7f.1":            {},
		"2130706433":        {},
		"127.0.0.01":        {},
		"256.0.0.1":         {},
		"user:pass@host:80": {},
	} {
		host, port, err := canonical.ParseHost(nil, []byte(raw))
		if string(host) != want.host && err == nil || port != want.port && err == nil || (err != nil) != (want.host == "") {
			t.Errorf("ParseHost(%q) = %q, %d, %v; want %v", raw, host, port, err, want)
		}
		if err != nil && !errors.Is(err, canonical.ErrHost) {
			t.Errorf("ParseHost(%q): %v does not wrap ErrHost", raw, err)
		}
	}
}

func TestParsingTargetsDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 256)
	target, host := []byte("/v1/orders/%41/../17?x=1"), []byte("API.example.com:8080")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := canonical.ParseTarget(buf, target); err != nil {
			t.Fatal(err)
		}
		if _, _, err := canonical.ParseHost(buf, host); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%2e%2e/", "http://x/..", "//", "/a?b", "*", "/;/..;/"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := canonical.ParseTarget(nil, raw)
		if err != nil {
			return
		}
		if string(got.Path) == "*" {
			return
		}
		for segment := range strings.SplitSeq(strings.ReplaceAll(string(got.Path[1:]), "%2F", "/"), "/") {
			if segment == ".." || segment == "." {
				t.Fatalf("%q became %q", raw, got.Path)
			}
		}
		if got.Path[0] != '/' || bytes.Contains(got.Path, []byte("//")) || bytes.ContainsAny(got.Path, " \\#?") {
			t.Fatalf("%q became %q", raw, got.Path)
		}
		again, err := canonical.ParseTarget(nil, got.Path)
		if err != nil || !bytes.Equal(again.Path, got.Path) {
			t.Fatalf("%q became %q, then %q (%v)", raw, got.Path, again.Path, err)
		}
	})
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"a.b:80", "[::1]:1", "127.0.0.1", "a@b", "1.2.3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		host, port, err := canonical.ParseHost(nil, raw)
		if err != nil {
			return
		}
		again, _, err := canonical.ParseHost(nil, host)
		if err != nil || !bytes.Equal(again, host) || port < 0 || port > 65535 {
			t.Fatalf("%q became %q, then %q (%v)", raw, host, again, err)
		}
	})
}
