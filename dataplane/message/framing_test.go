package message_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/dataplane/message"
)

func TestFraming(t *testing.T) {
	for _, c := range []struct {
		head     string
		http10   bool
		length   int64
		declared bool
		err      error
	}{
		{head: ""},
		{head: "Content-Length: 0", declared: true},
		{head: "content-length: 42", length: 42, declared: true},
		{head: "Transfer-Encoding: Chunked", length: message.Chunked, declared: true},
		{head: "Content-Length: 1\nContent-Length: 1", err: message.ErrFraming},
		{head: "Content-Length: 1\nTransfer-Encoding: chunked", err: message.ErrFraming},
		{head: "Transfer-Encoding: chunked\nTransfer-Encoding: chunked", err: message.ErrFraming},
		{head: "Transfer-Encoding: gzip, chunked", err: message.ErrTransferCoding},
		{head: "Transfer-Encoding: identity", err: message.ErrTransferCoding},
		{head: "Transfer-Encoding: chunked", http10: true, err: message.ErrTransferVersion},
		{head: "Content-Length: +1", declared: true, err: message.ErrContentLength},
		{head: "Content-Length: 1, 1", declared: true, err: message.ErrContentLength},
		{head: "Content-Length:", declared: true, err: message.ErrContentLength},
		{head: "Content-Length: 1000000000000000000", declared: true, err: message.ErrContentLength},
	} {
		length, declared, err := message.Framing(parse(t, c.head), c.http10)
		if length != c.length || declared != c.declared || !errors.Is(err, c.err) {
			t.Errorf("%q, HTTP/1.0 %v: %d, %v, %v, want %d, %v, %v", c.head, c.http10, length, declared, err, c.length, c.declared, c.err)
		}
	}
}

func TestAnswerLength(t *testing.T) {
	for _, c := range []struct {
		fields string
		status int
		head   bool
		want   int64
	}{
		{"Content-Length: 5", 200, false, 5},
		{"Content-Length: 5", 200, true, 0},
		{"Content-Length: 5", 304, false, 0},
		{"Transfer-Encoding: chunked", 204, false, 0},
		{"Transfer-Encoding: chunked", 200, false, message.Chunked},
		{"", 200, false, message.UntilClose},
		{"", 200, true, 0},
		{"", 100, false, 0},
	} {
		got, err := message.AnswerLength(parse(t, c.fields), c.status, c.head, false)
		if err != nil || got != c.want {
			t.Errorf("%q with status %d, HEAD %v: %d, %v, want %d", c.fields, c.status, c.head, got, err, c.want)
		}
	}
}

func TestStatusLine(t *testing.T) {
	for line, want := range map[string]struct {
		status int
		http10 bool
	}{
		"HTTP/1.1 200 OK":        {200, false},
		"HTTP/1.0 404 Not Found": {404, true},
		"HTTP/1.1 599":           {599, false},
		"HTTP/1.1 200 ":          {200, false},
		"HTTP/1.2 200 OK":        {},
		"HTTP/2 200":             {},
		"HTTP/1.1 20 OK":         {},
		"HTTP/1.1 2000 OK":       {},
		"HTTP/1.1 099 OK":        {},
		"HTTP/1.1 600 OK":        {},
		"HTTP/1.1  200 OK":       {},
		"HTTP/1.1 200 O\rK":      {},
		"HTTP/1.1 200 O\x00K":    {},
		"":                       {},
	} {
		status, http10, rest, err := message.ParseStatusLine([]byte(line + "\r\nrest"))
		if status != want.status || http10 != want.http10 || (err == nil) != (want.status != 0) || err == nil && string(rest) != "rest" {
			t.Errorf("%q: %d, %v, %q, %v", line, status, http10, rest, err)
		}
	}
	if _, _, _, err := message.ParseStatusLine([]byte("HTTP/1.1 200 OK\n")); !errors.Is(err, message.ErrAnswer) {
		t.Errorf("a line that ends in LF alone: %v", err)
	}
}

func TestChunkSize(t *testing.T) {
	for line, want := range map[string]int64{
		"0":                0,
		"1A":               26,
		"a;name=value":     10,
		"a ; name":         10,
		"fffffffffffffff":  1<<60 - 1,
		"1000000000000000": -1,
		"":                 -1,
		";a":               -1,
		"0x1":              -1,
		"-1":               -1,
		" 1":               -1,
		"1\r;a":            -1,
		"1;a\n":            -1,
	} {
		got, err := message.ParseChunkSize([]byte(line))
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, %v, want %d", line, got, err, want)
		}
	}
}

func TestFieldsAreIdentifiedWhateverTheirCase(t *testing.T) {
	for name, want := range map[string]message.ID{
		"HOST": message.Host, "Transfer-Encoding": message.TransferEncoding, "tE": message.TE,
		"Keep-Alive": message.HopByHop, "X-MESHGW-Link": message.Internal, "x-meshgw-" + strings.Repeat("a", 40): message.Internal,
		"X-Forwarded-Client-Cert": message.XForwardedOther, "X_Forwarded_For": message.Underscored, "Accept": message.Other,
	} {
		if got := message.Identify([]byte(name)); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

func parse(t *testing.T, head string) []message.Field {
	t.Helper()
	if head != "" {
		head = strings.ReplaceAll(head, "\n", "\r\n") + "\r\n"
	}
	fields, err := message.ParseFields(nil, []byte(head+"\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return fields
}
