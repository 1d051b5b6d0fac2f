package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// savePair writes a certificate and its key.
func (w *world) savePair(name string, pair *tls.Certificate) (cert, key string) {
	w.t.Helper()
	secret, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.save(name+".crt", certPEM(pair.Certificate[0])), w.save(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// An admin listener that other machines reach knows its clients by token or by
// certificate, each with a role.
func TestTheAdminListenerKnowsClientsByCertificate(t *testing.T) {
	w := newWorld(t)
	ours, theirs := newCA(t), newCA(t)
	cert, key := w.savePair("admin", ours.leaf(t, "gw.test", time.Hour))
	caFile := w.save("ours.pem", certPEM(ours.cert.Raw))
	const token = "a-token-of-the-environment"
	a := w.launchWith("a", func(p *process) { p.cmd.Env = append(os.Environ(), "BOT_TOKEN="+token) },
		"--admin", "0.0.0.0:0", "--admin-tls-cert", cert, "--admin-tls-key", key, "--admin-client-ca", caFile,
		"--admin-tokens", w.save("tokens", []byte("ops write san:ops.test\nviewer read san:viewer.test\nbot read ${BOT_TOKEN}\n")))
	a.waitReady()
	port := a.listen.Admin[strings.LastIndexByte(a.listen.Admin, ':'):]

	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	ask := func(show *tls.Certificate, method, path string, headers ...string) int {
		secure := &tls.Config{RootCAs: roots}
		if show != nil {
			secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return show, nil }
		}
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) { // as from another machine: Host is no loopback name
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1"+port)
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: secure, DialContext: dial, DisableKeepAlives: true}, Timeout: 10 * time.Second}
		req, err := http.NewRequestWithContext(t.Context(), method, "https://gw.test"+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	ops, viewer := ours.leaf(t, "ops.test", time.Hour), ours.leaf(t, "viewer.test", time.Hour)
	for what, tt := range map[string]struct {
		show         *tls.Certificate
		method, path string
		headers      []string
		status       int // 0 = there is no connection to be had
	}{
		"ops reads":                              {ops, "GET", "/v1/status", nil, 200},
		"ops changes":                            {ops, "POST", "/v1/drain", nil, 200},
		"ops by another origin's page":           {ops, "POST", "/v1/undrain", []string{"Origin", "https://evil.example.com"}, 403},
		"a viewer reads":                         {viewer, "GET", "/v1/status", nil, 200},
		"a viewer changes":                       {viewer, "POST", "/v1/undrain", nil, 403},
		"somebody without a line":                {ours.leaf(t, "else.test", time.Hour), "GET", "/v1/status", nil, 401},
		"nobody":                                 {nil, "GET", "/v1/status", nil, 401},
		"the listener's own probe":               {nil, "GET", "/healthz", nil, 200},
		"ops of another CA":                      {theirs.leaf(t, "ops.test", time.Hour), "GET", "/v1/status", nil, 0},
		"ops whose time is over":                 {ours.leaf(t, "ops.test", -time.Minute), "GET", "/v1/status", nil, 0},
		"a token of the environment":             {nil, "GET", "/v1/status", []string{"Authorization", "Bearer " + token}, 200},
		"the words that stand for it":            {nil, "GET", "/v1/status", []string{"Authorization", "Bearer ${BOT_TOKEN}"}, 401},
		"the words that stand for a certificate": {nil, "GET", "/v1/status", []string{"Authorization", "Bearer san:ops.test"}, 401},
		"ops with a wrong token":                 {ops, "GET", "/v1/status", []string{"Authorization", "Bearer nothing-of-the-kind"}, 401},
	} {
		if got := ask(tt.show, tt.method, tt.path, tt.headers...); got != tt.status {
			t.Errorf("%s: answered %d, want %d", what, got, tt.status)
		}
	}
	// The command, which is told by flags or by the environment.
	opsCert, opsKey := w.savePair("ops", ops)
	w.run("meshgw", "undrain", "--admin", "https://127.0.0.1"+port, "--ca", caFile, "--cert", opsCert, "--key", opsKey)
	eventually(t, 5*time.Second, "the log says who", func() error {
		return logged(a, `"by":"ops@127.0.0.1","method":"POST","path":"/v1/undrain","status":200`)
	})
	if out, err := w.try("meshgw", "status", "--admin", "https://127.0.0.1"+port); err == nil {
		t.Errorf("a CA that nobody knows was believed: %s", out)
	}
	if strings.Contains(a.log.String(), token) {
		t.Error("the log shows the token")
	}
}
