package proxyproto

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	block4 = signature + "\x21\x11\x00\x0f\xc0\x00\x02\x07\x0a\x00\x00\x01\x1f\x90\x01\xbb\x04\x00\x00"
	block6 = signature + "\x21\x21\x00\x24\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1f\x90\x01\xbb"
)

// headers are headers and the client that they name; "none" where it is the load
// balancer itself, "refused" where the header is none.
func headers() map[string]string {
	return map[string]string{
		"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\n":            "192.0.2.7",
		"PROXY TCP6 2001:db8::7 2001:db8::1 8080 443\r\n":       "2001:db8::7",
		"PROXY TCP6 ::ffff:192.0.2.7 ::1 8080 443\r\n":          "192.0.2.7",
		"PROXY UNKNOWN\r\n":                                     "none",
		"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n":                 "none",
		block4:                                                  "192.0.2.7",
		block6:                                                  "2001:db8::7",
		signature + "\x20\x00\x00\x00":                          "none",
		signature + "\x21\x31\x00\x02ab":                        "none",
		"GET / HTTP/1.1\r\nhost: a\r\n\r\n":                     "refused",
		"PROXY TCP4 2001:db8::7 10.0.0.1 8080 443\r\n":          "refused",
		"PROXY TCP6 fe80::1%eth0 ::1 8080 443\r\n":              "refused",
		"PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n":                "refused",
		"PROXY UDP4 192.0.2.7 10.0.0.1 8080 443\r\n":            "refused",
		"PROXY TCP4 " + strings.Repeat("1", longestLine):        "refused",
		signature + "\x21\x11\x00\x04\xc0\x00\x02\x07":          "refused",
		signature + "\x31\x11\x00\x00":                          "refused",
		signature + "\x22\x11\x00\x00":                          "refused",
		signature + "\x21\x11\xff\xff" + strings.Repeat("a", 9): "refused",
	}
}

func read(r *bytes.Reader) string {
	from, err := Read(r)
	switch {
	case err != nil:
		return "refused"
	case !from.IsValid():
		return "none"
	}
	return from.String()
}

func TestHeadersTellTheClient(t *testing.T) {
	for header, want := range headers() {
		r := bytes.NewReader([]byte(header + "rest"))
		if got := read(r); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
		if want != "refused" && r.Len() != len("rest") {
			t.Errorf("%q: %d bytes are left of what follows", header, r.Len())
		}
	}
}

// However a header is cut into pieces, it says the same and leaves the same.
func FuzzHeader(f *testing.F) {
	for header := range headers() {
		f.Add([]byte(header))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, pieces := bytes.NewReader(data), bytes.NewReader(data)
		from, err := Read(whole)
		again, errAgain := Read(iotest.OneByteReader(pieces))
		if from != again || (err == nil) != (errAgain == nil) || whole.Len() != pieces.Len() {
			t.Errorf("whole: %v %v, %d left; in pieces: %v %v, %d left", from, err, whole.Len(), again, errAgain, pieces.Len())
		}
		if from.Is4In6() || from.Zone() != "" {
			t.Errorf("%v is not canonical", from)
		}
	})
}
