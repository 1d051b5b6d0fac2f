//go:build linux

package main

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

//go:embed peers
var configs embed.FS

// setup is what a peer is asked to be.
type setup struct {
	Features      bool // hosts and prefixes, request ids, a limit that is never hit, metrics, 1 % access log
	Listen, Admin string
	HTTP2         string // where HTTP/2 is spoken in clear: at Listen, but for nginx
	Upstreams     []string
	Dir           string // of its own
	Threads       int
	Hosts         []string
	Prefixes      []string
	Certificate   string // a file with key and certificate: TLS is spoken at Listen; empty = none is
	Keys          bool   // the limit is by the header x-key
	Unlimited     bool   // there is none after all; meshgw only

	Node, Bind, Join string // of meshgw; empty = "bench", any port, a mesh of its own
}

// Port is that of Listen.
func (s *setup) Port() string {
	_, port, _ := strings.Cut(s.Listen, ":")
	return port
}

// URL is where path is served.
func (s *setup) URL(path string) string {
	if s.Certificate != "" {
		return "https://" + s.Listen + path
	}
	return "http://" + s.Listen + path
}

// routes gives s so many routes, ten prefixes to a host.
func (s *setup) routes(n int) {
	for i := range n / 10 {
		s.Hosts = append(s.Hosts, fmt.Sprintf("api%d.example.com", i))
	}
	for i := range 10 {
		s.Prefixes = append(s.Prefixes, fmt.Sprintf("/svc%d", i))
	}
}

// write makes a file in s.Dir by the template of the same name.
func (s *setup) write(name string) (string, error) {
	t, err := template.ParseFS(configs, "peers/"+name+".tmpl")
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.Dir, name)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	return path, errors.Join(t.Execute(f, s), f.Close())
}

// peer is a proxy that can be measured.
type peer struct {
	name    string
	binary  string
	version []string
	command func(s *setup) ([]string, error) // after the binary
	reload  func(s *setup, pid int) error    // makes it read its configuration again
	vary    func(s *setup)                   // makes it another subject
	script  string                           // of wrk, for its load; empty = none
}

// installed reports whether its binary is there.
func (p *peer) installed() bool {
	_, err := exec.LookPath(p.binary)
	return err == nil
}

func peers(meshgw, against string) []*peer {
	all := []*peer{
		{name: "nginx", binary: "nginx", version: []string{"-v"}, command: nginx, reload: signalled("HUP")},
		{name: "haproxy", binary: "haproxy", version: []string{"-v"}, command: haproxy, reload: signalled("USR2")},
		{name: "meshgw", binary: meshgw, version: []string{"version"}, command: meshgwAgent, reload: touchRoutes},
		{name: "caddy", binary: "caddy", version: []string{"version"}, command: caddy, reload: caddyReload},
		{name: "traefik", binary: "traefik", version: []string{"version"}, command: traefik, reload: touchTraefik},
	}
	if against != "" {
		at := slices.IndexFunc(all, func(p *peer) bool { return p.name == "meshgw" })
		other := *all[at]
		other.name, other.binary = "meshgw against", against
		all = slices.Insert(all, at, &other)
	}
	return all
}

func nginx(s *setup) ([]string, error) {
	s.HTTP2 = "127.0.0.1:8300"
	path, err := s.write("nginx.conf")
	return []string{"-e", s.Dir + "/error.log", "-p", s.Dir, "-c", path}, err
}

func haproxy(s *setup) ([]string, error) {
	if _, err := s.write("haproxy.map"); err != nil {
		return nil, err
	}
	path, err := s.write("haproxy.cfg")
	return []string{"-W", "-q", "-f", path}, err
}

// meshgwAgent starts a node with its defaults, but for two: it does not turn
// requests away because its core is busy, which is what the load is for, and its
// access log is that of the others.
func meshgwAgent(s *setup) ([]string, error) {
	path, err := s.write("meshgw.yaml")
	log := "off"
	if s.Features {
		log = "0.01"
	}
	args := []string{
		"agent", "--node", cmp.Or(s.Node, "bench"), "--data-dir", s.Dir + "/data", "--routes", path, "--http", s.Listen, "--admin", s.Admin,
		"--bind", cmp.Or(s.Bind, "127.0.0.1:0"), "--rpc", "127.0.0.1:0", "--access-log", log, "--shed-cpu", "0",
	}
	if s.Certificate != "" {
		args = append(args, "--http", "127.0.0.1:0", "--https", s.Listen, "--tls-cert", s.Certificate, "--tls-key", s.Certificate)
	}
	if s.Join != "" {
		args = append(args, "--join", s.Join)
	}
	return args, err
}

func caddy(s *setup) ([]string, error) {
	path, err := s.write("Caddyfile")
	return []string{"run", "--adapter", "caddyfile", "--config", path}, err
}

func traefik(s *setup) ([]string, error) {
	path, err := s.write("traefik.yml")
	args := []string{
		"--entryPoints.web.address=" + s.Listen, "--log.level=ERROR", "--providers.file.filename=" + path,
		"--providers.file.watch=true", "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false",
		"--serversTransport.maxIdleConnsPerHost=512",
	}
	if s.Features {
		args = append(args, "--entryPoints.metrics.address="+s.Admin, "--metrics.prometheus=true",
			"--metrics.prometheus.entryPoint=metrics", "--metrics.prometheus.addRoutersLabels=true")
	}
	return args, err
}

func signalled(name string) func(*setup, int) error {
	return func(_ *setup, pid int) error { return exec.Command("kill", "-"+name, strconv.Itoa(pid)).Run() }
}

func caddyReload(s *setup, _ int) error {
	return exec.Command("caddy", "reload", "--force", "--adapter", "caddyfile", "--config", s.Dir+"/Caddyfile", "--address", s.Admin).Run()
}

func touchTraefik(s *setup, _ int) error { return appendTo(s.Dir+"/traefik.yml", "# again\n") }

func touchRoutes(s *setup, pid int) error {
	if err := appendTo(s.Dir+"/meshgw.yaml", "  - {name: more, hosts: [more.example.com], upstream: up}\n"); err != nil {
		return err
	}
	return signalled("HUP")(s, pid)
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
