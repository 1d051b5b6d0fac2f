package admin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/admin"
)

func TestParseTokensReportsEveryMistakeAndNoToken(t *testing.T) {
	_, err := admin.ParseTokens("t", []byte("a read "+readToken+"\nb\nc owner "+readToken+"\nd read short-secret\na read "+writeToken+"\n"), os.Getenv)
	want := "t:2: want NAME ROLE TOKEN\nt:3: c: role: want read or write\nt:4: d: want a token of 16 characters at least\nt:5: a: this name is taken"
	if err == nil || err.Error() != want {
		t.Errorf("err = %v\nwant %s", err, want)
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
