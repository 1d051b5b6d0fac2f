package config

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// resolve fills in the defaults that depend on other settings, and refuses what
// would be open to strangers without the user having said so.
func (d *draft) resolve() {
	d.resolveGossip()
	d.resolveHTTPS()
	d.resolveMesh()
	d.resolveAdmin()
}

func (d *draft) resolveAdmin() {
	t := d.AdminTLS
	switch {
	case (t.Cert == "") != (t.Key == ""):
		d.refuse(d.place("admin-tls-cert"), "the admin listener needs both of --admin-tls-cert and --admin-tls-key")
	case t.ClientCA != "" && t.Cert == "":
		d.refuse(d.place("admin-client-ca"), "certificates of clients need TLS: give --admin-tls-cert and --admin-tls-key")
	}
	if !Loopback(d.Listen.Admin) && d.AdminTokensFile == "" && !d.Insecure {
		d.refuse(d.place("admin"), "%s is not loopback and anybody could change routes there: give --admin-tokens or --insecure", d.Listen.Admin)
	}
}

func (d *draft) resolveGossip() {
	sealed := d.Gossip.KeyringFile != ""
	if sealed {
		if _, err := readKeyring(d.Gossip.KeyringFile); err != nil {
			d.refuse(d.place("keyring"), "%v", err)
		}
	}
	if d.Gossip.Bind == "" {
		d.Gossip.Bind = "127.0.0.1:7946"
		if sealed {
			d.Gossip.Bind = "0.0.0.0:7946"
		}
	}
	if !sealed && !d.Insecure && !Loopback(d.Gossip.Bind) {
		d.refuse(d.place("bind"), "%s is not loopback and gossip would be in clear: give --keyring or --insecure", d.Gossip.Bind)
	}
	if !Loopback(d.Gossip.RPC) && d.Gossip.RPCAuth == "" && !d.Insecure {
		d.refuse(d.place("rpc"), "%s is not loopback and anybody could command the mesh there: give --rpc-auth or --insecure", d.Gossip.RPC)
	}
}

func (d *draft) resolveHTTPS() {
	if d.pair != (Certificate{}) {
		d.Listen.Certificates = []Certificate{d.pair}
	}
	for _, c := range d.Listen.Certificates {
		if c.Cert == "" {
			d.refuse(d.place("tls-key"), "key %s has no certificate", c.Key)
		} else if c.Key == "" {
			d.refuse(d.place("tls-cert"), "certificate %s has no key", c.Cert)
		}
	}
	if d.Listen.ClientCA != "" && len(d.Listen.Certificates) == 0 {
		d.refuse(d.place("tls-client-ca"), "certificates of clients need HTTPS: give --tls-cert and --tls-key")
	}
	switch given := d.Listen.HTTPS != ""; {
	case given && len(d.Listen.Certificates) == 0:
		d.refuse(d.place("https"), "HTTPS needs a certificate: give --tls-cert and --tls-key")
	case !given && len(d.Listen.Certificates) > 0:
		d.Listen.HTTPS = ":8443"
	}
}

func (d *draft) resolveMesh() {
	secure := d.MeshTLS != (MeshTLS{})
	switch t, given := d.MeshTLS, d.Listen.Mesh != ""; {
	case secure && (t.CA == "" || t.Cert == "" || t.Key == ""):
		d.refuse(d.place("mesh-cert"), "a secure mesh link needs all of --mesh-ca, --mesh-cert and --mesh-key")
	case secure && !given:
		d.Listen.Mesh = ":7443"
	case !given && d.Insecure:
		d.Listen.Mesh = "127.0.0.1:7443"
	case !secure && given && !d.Insecure:
		d.refuse(d.place("mesh"), "the mesh link would be in clear: give --mesh-ca, --mesh-cert and --mesh-key, or --insecure")
	case !secure && given && !Loopback(d.Listen.Mesh):
		d.refuse(d.place("mesh"), "%s is not loopback and a mesh link in clear is believed in all it says: give --mesh-ca, --mesh-cert and --mesh-key", d.Listen.Mesh)
	}
}

// place is where the value of a flag came from, for a message about it.
func (d *draft) place(flag string) string { return cmp.Or(d.origin[flag], "--"+flag) }

// Warnings returns what a node should warn of when it starts: settings that are valid
// and perhaps not meant.
func (c Config) Warnings() []string {
	var all []string
	if c.Gossip.KeyringFile == "" {
		all = append(all, "gossip is in clear on "+c.Gossip.Bind+": give --keyring to encrypt it and to open it to other machines")
	} else {
		if c.Gossip.RPCAuth == "" {
			all = append(all, "every local user may read and rotate the gossip keys over Serf's RPC: give --rpc-auth")
		}
		if info, err := os.Stat(c.Gossip.KeyringFile); err == nil && info.Mode().Perm()&0o077 != 0 {
			all = append(all, "keyring "+c.Gossip.KeyringFile+" can be read by others than its owner: give it mode 0600")
		}
	}
	if !Loopback(c.Listen.Admin) && c.AdminTokensFile != "" && c.AdminTLS.Cert == "" {
		all = append(all, "tokens of the admin API are sent in clear to "+c.Listen.Admin+": give --admin-tls-cert and --admin-tls-key")
	}
	if c.Insecure {
		all = append(all, "insecure: what is not encrypted may be read and forged by anybody on the network")
	}
	return all
}

// readKeyring reads Serf's keyring file: a JSON array of base64 keys, the first
// of which encrypts. The error never holds any of it.
func readKeyring(path string) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read keyring: %w", err)
	}
	var texts []string
	if json.Unmarshal(data, &texts) != nil {
		return nil, fmt.Errorf("keyring %s: want a JSON array of base64 keys", path)
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("keyring %s holds no key, and gossip would be in clear: meshgw keygen makes one", path)
	}
	keys := make([][]byte, len(texts))
	var errs []error
	for i, text := range texts {
		keys[i], err = base64.StdEncoding.DecodeString(text)
		if n := len(keys[i]); err != nil || n != 16 && n != 24 && n != 32 {
			errs = append(errs, fmt.Errorf("keyring %s: key %d: want 16, 24 or 32 bytes in base64", path, i+1))
		}
	}
	return keys, errors.Join(errs...)
}

// Loopback reports whether addr, host:port, is for this machine alone. A name
// other than localhost is not: what it stands for may change.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
