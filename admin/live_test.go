package admin_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// openStream follows what a page would, until its body is closed.
func openStream(t *testing.T, url string) stream {
	t.Helper()
	resp, err := http.Get(url + "/v1/live")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return stream{resp.StatusCode, resp.Header.Get("Content-Type"), resp.Body}
}

type stream struct {
	status      int
	contentType string
	body        io.ReadCloser
}

// next returns the next event.
func next(t *testing.T, r *bufio.Reader) (topic, data string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", data, err)
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "event: "):
			topic = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		case line == "" && topic != "":
			return topic, data
		}
	}
}

func TestAPageIsToldEverythingAndThenWhatChanges(t *testing.T) {
	n := &node{}
	s := openStream(t, start(t, n, nil, false))
	if s.contentType != "text/event-stream" {
		t.Errorf("content type %q", s.contentType)
	}
	r := bufio.NewReader(s.body)
	seen := map[string]string{}
	for len(seen) < 6 {
		topic, data := next(t, r)
		seen[topic] = data
	}
	var d api.Diagnosis
	if err := json.Unmarshal([]byte(seen["doctor"]), &d); err != nil || len(d.Checks) != 1 {
		t.Errorf("doctor: %s, %v", seen["doctor"], err)
	}
	for _, topic := range []string{"status", "mesh", "limits", "traffic", "events"} {
		if !json.Valid([]byte(seen[topic])) {
			t.Errorf("%s: %s", topic, seen[topic])
		}
	}
	n.version.Store(7)
	if topic, data := next(t, r); topic != "status" || data == seen["status"] {
		t.Errorf("after a change: %s %s", topic, data)
	}
}

func TestStreamsAreCappedAndMakeRoomAgain(t *testing.T) {
	url := start(t, &node{}, nil, false)
	var open []stream
	for range 64 {
		s := openStream(t, url)
		if s.status != http.StatusOK {
			t.Fatalf("stream %d: status %d", len(open), s.status)
		}
		open = append(open, s)
	}
	s := openStream(t, url)
	if body, _ := io.ReadAll(s.body); s.status != http.StatusServiceUnavailable || !strings.Contains(string(body), "as many pages") {
		t.Errorf("one more: %d %s", s.status, body)
	}
	open[0].body.Close()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if openStream(t, url).status == http.StatusOK {
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("there is no room after one has gone")
		}
	}
}

// A reader that never reads must not hold up others or pile anything up.
func TestASlowReaderHoldsUpNobody(t *testing.T) {
	n := &node{}
	url := start(t, n, nil, false)
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(openStream(t, url).body)
	for i := range 3 {
		n.version.Store(uint64(100 + i))
		for topic := ""; topic != "status"; {
			topic, _ = next(t, r)
		}
	}
}
