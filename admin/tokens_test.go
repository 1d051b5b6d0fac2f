package admin_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/admin"
)

func TestParseTokensReportsEveryMistakeAndNoToken(t *testing.T) {
	_, err := admin.ParseTokens("t", []byte("a read "+readToken+"\nb\nc owner "+readToken+"\na read "+writeToken+"\n"), os.Getenv)
	want := "t:2: want NAME ROLE TOKEN\nt:3: c: role: want read or write\nt:4: a: this name is taken"
	if err == nil || err.Error() != want {
		t.Errorf("err = %v\nwant %s", err, want)
	}
}

func TestATokenThatCanBeGuessedIsWarnedOf(t *testing.T) {
	all, err := admin.ParseTokens("t", []byte("ann read short-secret\nben write "+writeToken), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	n := &node{}
	admin.New(n, n, all, false, prometheus.NewRegistry(), zerolog.New(&log))
	if text := log.String(); !strings.Contains(text, `"by":"ann"`) || strings.Contains(text, "ben") || strings.Contains(text, "short-secret") {
		t.Errorf("the log says %q", text)
	}
}

func TestReadTokensRefusesAFileWithoutAny(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	if _, err := admin.ReadTokens(path, os.Getenv); err == nil {
		t.Error("no file, no error")
	}
	if err := os.WriteFile(path, []byte("# none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ReadTokens(path, os.Getenv); err == nil || !strings.Contains(err.Error(), "no token") {
		t.Errorf("err = %v", err)
	}
}

func FuzzParseTokens(f *testing.F) {
	f.Add([]byte("a read " + readToken + "\n# x\n\nb write " + writeToken))
	f.Fuzz(func(t *testing.T, data []byte) {
		tokens, err := admin.ParseTokens("t", data, os.Getenv)
		for _, token := range tokens {
			if err != nil || token.Name == "" || token.Role != admin.RoleRead && token.Role != admin.RoleWrite {
				t.Errorf("%q: %+v, %v", data, token, err)
			}
		}
	})
}
