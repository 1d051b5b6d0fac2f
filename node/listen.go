package node

import (
	"crypto/tls"
	"fmt"
	"os"

	"github.com/meshgw/meshgw/admin"
	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/dataplane/edgetls"
	"github.com/meshgw/meshgw/node/config"
	"github.com/meshgw/meshgw/roster"
)

// secure reads the certificates of a listener and the CA of its clients, if any,
// and remembers to read them again when the node is told to.
func (n *Node) secure(files []config.Certificate, clientCA string) (*tls.Config, error) {
	pairs := make([]edgetls.File, len(files))
	for i, f := range files {
		pairs[i] = edgetls.File(f)
	}
	certs, err := edgetls.Load(pairs, clientCA)
	if err != nil {
		return nil, err
	}
	n.certs = append(n.certs, certs)
	secure := certs.Config()
	secure.Time = n.world.now
	return secure, nil
}

// readAdminTokens reads who may ask the admin listener.
func (n *Node) readAdminTokens() (err error) {
	if n.cfg.AdminTokensFile == "" {
		return nil
	}
	n.adminTokens, err = admin.ReadTokens(n.cfg.AdminTokensFile, os.Getenv)
	if err == nil && n.adminTokens.AskForCertificates() && n.cfg.AdminTLS.ClientCA == "" {
		err = fmt.Errorf("%s: san: asks for certificates: give --admin-client-ca", n.cfg.AdminTokensFile)
	}
	return err
}

// secureAdmin has the admin listener speak TLS, where it has a certificate.
func (n *Node) secureAdmin() error {
	t := n.cfg.AdminTLS
	if t.Cert == "" {
		return nil
	}
	secure, err := n.secure([]config.Certificate{t.Certificate}, t.ClientCA)
	if err != nil {
		return err
	}
	n.adminAt = tls.NewListener(n.adminAt, secure)
	return nil
}

// bindData opens the listeners that clients use.
func (n *Node) bindData() (err error) {
	l := n.cfg.Listen
	if n.listen.HTTP, err = n.data("http", l.HTTP, nil, ""); err != nil {
		return err
	}
	if len(l.Certificates) > 0 {
		if n.listen.HTTPS, err = n.data("https", l.HTTPS, l.Certificates, l.ClientCA); err != nil {
			return err
		}
	}
	for _, more := range l.More {
		var secure config.MoreTLS
		if more.TLS != nil {
			secure = *more.TLS
		}
		bound, err := n.data(more.Name, more.Address, secure.Certificates, secure.ClientCA)
		if err != nil {
			return err
		}
		if n.listen.More == nil {
			n.listen.More = map[string]string{}
		}
		n.listen.More[more.Name] = bound
	}
	return nil
}

// wordOf is what peers are told of where this node listens.
func wordOf(l api.Listen) roster.Listen {
	return roster.Listen{HTTP: l.HTTP, HTTPS: l.HTTPS, Mesh: l.Mesh, Admin: l.Admin, Gossip: l.Gossip, RPC: l.RPC}
}

func listenOf(l roster.Listen) api.Listen {
	return api.Listen{HTTP: l.HTTP, HTTPS: l.HTTPS, Mesh: l.Mesh, Admin: l.Admin, Gossip: l.Gossip, RPC: l.RPC}
}
