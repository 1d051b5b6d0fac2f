package node

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestSystemdIsTold(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	if err := notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := heard.Read(b)
	if got := string(b[:n]); err != nil || got != "READY=1" {
		t.Errorf("heard %q, %v", got, err)
	}
}

func TestWhoeverStartsANodeNeedNotBeSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := notify("READY=1"); err != nil {
		t.Error(err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if err := notify("READY=1"); err == nil || !strings.Contains(err.Error(), "notify systemd") {
		t.Errorf("of a socket that is not there: %v", err)
	}
}
