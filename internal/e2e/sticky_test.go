package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// visit asks with a cookie, or without, and returns which endpoint answered and the
// cookie that came with it.
func (p *process) visit(cookie string) (who, set string, err error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+p.listen.HTTP+"/", nil)
	if err != nil {
		return "", "", err
	}
	if cookie != "" {
		req.Header.Set("cookie", cookie)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", "", err
	}
	_ = resp.Body.Close()
	set, _, _ = strings.Cut(resp.Header.Get("set-cookie"), ";")
	return resp.Header.Get("x-upstream"), set, nil
}

func TestACookieHoldsAtEveryNodeAndAfterARestart(t *testing.T) {
	w := newWorld(t)
	text := "upstreams:\n  - name: o\n    balance: {sticky: {}}\n    endpoints:\n"
	for i := range 5 {
		text += fmt.Sprintf("      - {url: %q}\n", upstream(t, fmt.Sprint(i)).URL)
	}
	file := filepath.Join(w.dir, "sticky.yaml")
	if err := os.WriteFile(file, []byte(text+"routes: [{name: o, upstream: o}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := w.start("a", "--routes", file)
	b := w.start("b", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b)
	who, cookie := "", ""
	same := func(p *process) func() error {
		return func() error {
			got, set, err := p.visit(cookie)
			switch {
			case err != nil:
				return err
			case got != who || set != "":
				return fmt.Errorf("%s went from %s to %s", p.name, who, got)
			}
			return nil
		}
	}
	eventually(t, 10*time.Second, "a cookie of a's is honoured at b", func() (err error) {
		if who, cookie, err = a.visit(""); err == nil && cookie == "" {
			err = errors.New("no cookie")
		}
		return errors.Join(err, same(b)())
	})
	b.terminate()
	b.end(10 * time.Second)
	b = w.start("b", "--join", a.listen.Gossip)
	eventually(t, 10*time.Second, "the cookie is honoured after a restart", same(b))
}
