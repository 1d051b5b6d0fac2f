package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
)

const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	nodeLifetime = 365 * 24 * time.Hour
	clockSlack   = time.Hour // clocks of nodes may differ
)

func certCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Create certificates for the mesh link",
		Long: `cert makes a private CA for a mesh and a certificate for each of its nodes, bound
to the node's name. Gateways of different regions send requests on to each other
over links that both ends secure by them.

Keep the CA's key off the nodes. No file is ever overwritten.`,
		Example: "  meshgw cert ca\n  meshgw cert node eu-1",
	}
	group(cmd)
	cmd.AddCommand(certCACommand(), certNodeCommand())
	return cmd
}

func certCACommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ca",
		Short:   "Create the CA of a mesh",
		Example: `  meshgw cert ca`,
		Args:    noArgs,
	}
	out := cmd.Flags().String("out", "mesh-ca.pem", "`FILE` of the certificate, for every node")
	outKey := cmd.Flags().String("out-key", "mesh-ca-key.pem", "`FILE` of the key, to be kept safe")
	lifetime := cmd.Flags().Duration("for", caLifetime, "how long it is valid")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := makeCA(*lifetime, *out, *outKey); err != nil {
			return err
		}
		say(cmd.OutOrStdout(), "%s\n%s\n", *out, *outKey)
		return nil
	}
	return cmd
}

func certNodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node NAME",
		Short: "Create the certificate of a node",
		Example: `  meshgw cert node eu-1
  meshgw agent --node eu-1 --mesh-ca mesh-ca.pem --mesh-cert eu-1.pem --mesh-key eu-1-key.pem`,
		Args: cobra.ExactArgs(1),
	}
	ca := cmd.Flags().String("ca", "mesh-ca.pem", "certificate `FILE` of the CA")
	caKey := cmd.Flags().String("ca-key", "mesh-ca-key.pem", "key `FILE` of the CA")
	out := cmd.Flags().String("out", "", "`FILE` of the certificate (default: NAME.pem)")
	outKey := cmd.Flags().String("out-key", "", "`FILE` of the key (default: NAME-key.pem)")
	lifetime := cmd.Flags().Duration("for", nodeLifetime, "how long it is valid")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		if *out == "" {
			*out = name + ".pem"
		}
		if *outKey == "" {
			*outKey = name + "-key.pem"
		}
		issuer, err := tls.LoadX509KeyPair(*ca, *caKey)
		if err != nil {
			return fmt.Errorf("load CA: %w", err)
		}
		if err := makeNodeCertificate(name, &issuer, *lifetime, *out, *outKey); err != nil {
			return err
		}
		say(cmd.OutOrStdout(), "%s\n%s\n", *out, *outKey)
		return nil
	}
	return cmd
}

// makeCA writes a new CA for a mesh.
func makeCA(lifetime time.Duration, out, outKey string) error {
	return makeCertificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "meshgw mesh CA"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil, lifetime, out, outKey)
}

// makeNodeCertificate writes a new certificate for the node called name.
func makeNodeCertificate(name string, issuer *tls.Certificate, lifetime time.Duration, out, outKey string) error {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil { // a name that looks like an address is checked as one
		template.IPAddresses = []net.IP{ip}
	}
	return makeCertificate(template, issuer, lifetime, out, outKey)
}

// makeCertificate completes template with a new key, has issuer sign it (nil =
// itself) and writes both files, which must not be there yet.
func makeCertificate(template *x509.Certificate, issuer *tls.Certificate, lifetime time.Duration, out, outKey string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return fmt.Errorf("make serial number: %w", err)
	}
	now := time.Now()
	template.NotBefore, template.NotAfter = now.Add(-clockSlack), now.Add(lifetime)
	parent, signer := template, any(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
		if !parent.IsCA {
			return fmt.Errorf("sign: %w", errors.New("the certificate given by --ca is no CA"))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	if err := writeNew(outKey, "PRIVATE KEY", keyDER); err != nil {
		return err
	}
	return writeNew(out, "CERTIFICATE", der)
}

// writeNew writes a PEM file, readable by its owner alone, that is not there yet.
func writeNew(path, kind string, der []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}
