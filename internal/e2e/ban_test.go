package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
)

// statusFor asks p on behalf of a client, as a proxy in front would.
func (p *process) statusFor(address string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.listen.HTTP+"/", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Forwarded-For", address)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// answersFor waits until every process answers a client so.
func answersFor(t *testing.T, client string, status int, ps ...*process) time.Duration {
	t.Helper()
	return eventually(t, 5*time.Second, fmt.Sprintf("%s gets %d", client, status), func() error {
		for _, p := range ps {
			if got, err := p.statusFor(client); err != nil || got != status {
				return fmt.Errorf("%s: %d, %w", p.name, got, err)
			}
		}
		return nil
	})
}

func TestABanHoldsAtEveryNodeAndOutlivesRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behind := []string{"--trusted-proxies", "127.0.0.1/32"}
	a := w.start("a", behind...)
	joined := append(behind, "--join", a.listen.Gossip)
	b, c := w.start("b", joined...), w.start("c", joined...)
	allSee(t, 10*time.Second, a, b, c)
	w.run("meshgw", "routes", "apply", w.save("routes.yaml", []byte("routes: [{name: all, respond: {status: 200, body: ok}}]\n")), "--admin", "http://"+a.listen.Admin, "--wait", "all")
	answersFor(t, "192.0.2.7", 200, a, b, c)

	w.run("meshgw", "ban", "add", "192.0.2.0/24", "--for", "1h", "-m", "scraping", "--admin", "http://"+b.listen.Admin)
	if took := answersFor(t, "192.0.2.7", 403, a, b, c); full() && took > time.Second {
		t.Errorf("it took %v until every node knew, want a second at most", took)
	}
	answersFor(t, "198.51.100.1", 200, a, b, c)
	eventually(t, 10*time.Second, "b says who banned from where", func() error { return logged(b, `"by":"local@127.0.0.1"`) })
	var bans []api.Ban
	out := w.run("meshgw", "ban", "list", "-o", "json", "--admin", "http://"+c.listen.Admin)
	if err := json.Unmarshal([]byte(out), &bans); err != nil || len(bans) != 1 || bans[0].CIDR != "192.0.2.0/24" || bans[0].Reason != "scraping" || bans[0].Node != "b" || bans[0].LeftMillis > time.Hour.Milliseconds() {
		t.Errorf("list at c: %v, %s", err, out)
	}

	c.kill()
	c = w.start("c", joined...)
	answersFor(t, "192.0.2.7", 403, c)
	d := w.start("d", joined...) // that has never heard of it
	answersFor(t, "192.0.2.7", 403, d)
	for _, p := range []*process{a, b, c, d} {
		p.kill()
	}
	a = w.start("a", behind...)
	answersFor(t, "192.0.2.7", 403, a)

	w.run("meshgw", "ban", "remove", "192.0.2.0/24", "--admin", "http://"+a.listen.Admin)
	b = w.start("b", append(behind, "--join", a.listen.Gossip)...) // whose disk holds it yet
	answersFor(t, "192.0.2.7", 200, a, b)
	if out, err := w.try("meshgw", "ban", "remove", "192.0.2.0/24", "--admin", "http://"+a.listen.Admin); exitCode(err) != 1 {
		t.Errorf("lifted twice: %v %s", err, out)
	}
	for _, wrong := range []string{"192.0.2.1/24", "0.0.0.0/0", "somebody"} {
		if out, err := w.try("meshgw", "ban", "add", wrong, "--admin", "http://"+a.listen.Admin); exitCode(err) != 2 {
			t.Errorf("ban of %s: %v %s", wrong, err, out)
		}
	}
	w.run("meshgw", "ban", "add", "192.0.2.7", "--for", "2s", "--admin", "http://"+a.listen.Admin) // it may be over by the first look
	answersFor(t, "192.0.2.7", 200, a, b)
}
