package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// certificate writes a certificate for localhost that signs itself, over what
// was there, and returns its serial number.
func (w *world) certificate(cert, key string) string {
	w.t.Helper()
	return w.certificateUntil(cert, key, time.Now().Add(24*time.Hour))
}

func (w *world) certificateUntil(cert, key string, until time.Time) string {
	w.t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		w.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		w.save(name, pem.EncodeToMemory(block))
	}
	return template.SerialNumber.String()
}

// settingsFile writes a settings file of its own for one node.
func (w *world) settingsFile(name, text string) string {
	w.t.Helper()
	return w.save(name, []byte("drain: {accept_for: 200ms, finish_in: 5s}\n"+text))
}

func TestARouteIsServedOnTheListenersItNames(t *testing.T) {
	w := newWorld(t)
	w.certificate("in.crt", "in.key")
	routes := filepath.Join(w.dir, "routes.yaml")
	if err := os.WriteFile(routes, []byte(`
routes:
  - {name: secure, listeners: [http], redirect: {scheme: https, status: 308}}
  - {name: inner, listeners: [internal], match: [{path: /who}], respond: {status: 200, body: inner}}
  - {name: open, match: [{path: /open}], respond: {status: 200, body: open}}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := w.settingsFile("more.yaml", fmt.Sprintf("listen:\n  more:\n    - {name: internal, address: \"127.0.0.1:0\", tls: {certificates: [{cert: %q, key: %q}]}}\n    - {name: plain, address: \"127.0.0.1:0\"}\n",
		filepath.Join(w.dir, "in.crt"), filepath.Join(w.dir, "in.key")))
	a := w.start("a", "--routes", routes, "--config", settings)
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	for url, want := range map[string]string{
		"https://" + a.listen.More["internal"] + "/who": "200 inner",
		"http://" + a.listen.More["plain"] + "/who":     "404",
		"http://" + a.listen.More["plain"] + "/open":    "200 open",
		"http://" + a.listen.HTTP + "/open?a=b":         "200 open", // a path goes before any
		"http://" + a.listen.HTTP + "/other?a=b":        "308",
	} {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := fmt.Sprintf("%d %s", resp.StatusCode, body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
		if want == "308" && resp.Header.Get("location") != "https://127.0.0.1/other?a=b" {
			t.Errorf("location %q", resp.Header.Get("location"))
		}
	}
	s, err := a.status()
	if err != nil || s.Listen.More["internal"] != a.listen.More["internal"] || len(s.Listen.More) != 2 {
		t.Errorf("status: %v %+v", err, s.Listen)
	}
}

func TestCertificatesAreReplacedWithoutADroppedRequest(t *testing.T) {
	w := newWorld(t)
	first := w.certificate("edge.crt", "edge.key")
	one := upstream(t, "one")
	a := w.start("a", "--routes", w.routeFile("routes.yaml", "/", one.URL), "--https", "127.0.0.1:0",
		"--tls-cert", filepath.Join(w.dir, "edge.crt"), "--tls-key", filepath.Join(w.dir, "edge.key"))
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 8}
	defer transport.CloseIdleConnections()
	var wg sync.WaitGroup
	var served, failed atomic.Int64
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := (&http.Client{Transport: transport}).Get("https://" + a.listen.HTTPS + "/x")
				if err != nil || resp.StatusCode != 200 {
					failed.Add(1)
				}
				if err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				served.Add(1)
			}
		})
	}
	serial := func() string {
		c, err := tls.Dial("tcp", a.listen.HTTPS, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	held, err := tls.Dial("tcp", a.listen.HTTPS, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if serial() != first {
		t.Error("not the certificate of the file")
	}
	for range 3 {
		next := w.certificate("edge.crt", "edge.key")
		_ = a.cmd.Process.Signal(syscall.SIGHUP)
		eventually(t, 10*time.Second, "the new certificate is shown", func() error {
			if got := serial(); got != next {
				return fmt.Errorf("serial %s, want %s", got, next)
			}
			return nil
		})
	}
	if err := os.WriteFile(filepath.Join(w.dir, "edge.crt"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := serial()
	_ = a.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, 10*time.Second, "a says so", func() error { return logged(a, "certificates not reloaded") })
	if serial() != now {
		t.Error("a broken file has replaced a good certificate")
	}
	close(stop)
	wg.Wait()
	t.Logf("%d requests over 4 reloads, %d failed", served.Load(), failed.Load())
	if failed.Load() > 0 || served.Load() == 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), served.Load())
	}
	if _, err := io.WriteString(held, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		t.Error(err)
	}
	if answer, _ := io.ReadAll(held); !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("a connection from before got %q", answer)
	}
}
