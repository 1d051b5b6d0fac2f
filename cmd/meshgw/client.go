package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

// target is which node a client command asks.
type target struct {
	admin string
	token string

	ca, cert, key string // PEM files; empty = none
}

// addTarget gives cmd the flags of a client command.
func addTarget(cmd *cobra.Command) *target {
	var t target
	cmd.Flags().StringVar(&t.admin, "admin", "", "admin address of the node to ask, or MESHGW_ADMIN (default "+api.DefaultURL+")")
	cmd.Flags().StringVar(&t.token, "token", "", "bearer token, or MESHGW_TOKEN, which no other user of the machine sees")
	cmd.Flags().StringVar(&t.ca, "ca", "", "PEM `FILE` of the CA of an admin listener with TLS, or MESHGW_CA (default: those of the system)")
	cmd.Flags().StringVar(&t.cert, "cert", "", "PEM `FILE` of a client certificate to show there instead of a token, or MESHGW_CERT")
	cmd.Flags().StringVar(&t.key, "key", "", "PEM `FILE` of its key, or MESHGW_KEY")
	return &t
}

func (t *target) client() (*api.Client, error) {
	secure, err := t.secure()
	if err != nil {
		return nil, err
	}
	c, err := api.New(cmp.Or(t.admin, os.Getenv("MESHGW_ADMIN"), api.DefaultURL), cmp.Or(t.token, os.Getenv("MESHGW_TOKEN")), secure)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return c, nil
}

// secure returns a client for an admin listener with TLS, nil where nothing is said
// of one.
func (t *target) secure() (*http.Client, error) {
	ca, cert, key := cmp.Or(t.ca, os.Getenv("MESHGW_CA")), cmp.Or(t.cert, os.Getenv("MESHGW_CERT")), cmp.Or(t.key, os.Getenv("MESHGW_KEY"))
	if ca == "" && cert == "" && key == "" {
		return nil, nil //nolint:nilnil // api.New has one of its own
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA %s: no certificate in it", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, nil
}

// asks makes cmd run f with a client of the node that the flags name.
func (t *target) asks(cmd *cobra.Command, f func(client *api.Client, args []string) error) {
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		client, err := t.client()
		if err != nil {
			return err
		}
		return f(client, args)
	}
}

// addOutput gives cmd the flag -o, which says how it prints its answer.
func addOutput(cmd *cobra.Command, formats ...string) *oneOf {
	o := &oneOf{value: formats[0], of: formats}
	cmd.Flags().VarP(o, "output", "o", "how to print the answer")
	return o
}

// oneOf is a flag that takes one of a few words.
type oneOf struct {
	value string
	of    []string
}

func (o *oneOf) String() string { return o.value }

// Set takes one of the words.
func (o *oneOf) Set(value string) error {
	if !slices.Contains(o.of, value) {
		return fmt.Errorf("want one of %s", o.Type())
	}
	o.value = value
	return nil
}

// Type names the words, for the help.
func (o *oneOf) Type() string {
	return strings.Join(o.of, "|")
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// say prints to the user. Errors are ignored, as of a closed pipe.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
