package files_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/meshgw/meshgw/internal/files"
)

func TestWhatNeverEndsOrKeepsWaitingIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"link": "file", "hidden-pipe": "pipe"} {
		if err := os.Symlink(at(to), at(from)); err != nil {
			t.Fatal(err)
		}
	}
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for path, wrong := range map[string]string{
		at("file"): "", at("link"): "", at("pipe"): "not a regular file", at("hidden-pipe"): "not a regular file",
		at("socket"): "not a regular file", dir: "not a regular file", "/dev/zero": "not a regular file", at("none"): "no such file",
	} {
		data, err := files.Read(path, 5)
		if wrong == "" && (err != nil || string(data) != "12345") || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%s: got %q, %v; want the error %q", path, data, err, wrong)
		}
	}
	if _, err := files.Read(at("file"), 4); err == nil || !strings.Contains(err.Error(), "more than 4 bytes") {
		t.Errorf("a byte too many: %v", err)
	}
}
