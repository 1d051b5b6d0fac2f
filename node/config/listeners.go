package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// moreKey is the key of the listeners besides http and https.
const moreKey = "listen.more"

// MoreListener is a data-plane listener besides http and https.
type MoreListener struct {
	Name    string   // as routes say it in listeners
	Address string   // host:port, port 0 for a free one
	TLS     *MoreTLS // nil = plain
}

// MoreTLS is what a listener shows its clients.
type MoreTLS struct {
	Certificates []Certificate // the first is for clients that name no host
	ClientCA     string        `yaml:"client_ca"` // as of HTTPS; empty = none is asked for
}

// more puts the list of further listeners.
func (f *settingsFile) more(list *yaml.Node) {
	for _, item := range list.Content {
		var l MoreListener
		err := item.Load(&l, yaml.WithKnownFields())
		if all, ok := errors.AsType[*yaml.LoadErrors](err); ok {
			for _, e := range all.Errors {
				what := e.Message
				if field, _, unknown := strings.Cut(what, " not found in type "); unknown {
					what = fmt.Sprintf("unknown field %q", strings.TrimPrefix(field, "field "))
				}
				f.mistake(&yaml.Node{Line: e.Mark.Line, Column: e.Mark.Column}, errors.New(what))
			}
			continue
		}
		if err == nil {
			err = l.check(f.Listen.More)
		}
		if err != nil {
			f.mistake(item, fmt.Errorf("%s: %w", moreKey, err))
			continue
		}
		f.Listen.More = append(f.Listen.More, l)
	}
}

func (l MoreListener) check(others []MoreListener) error {
	if err := checkName(l.Name, 1, maxPlaceName); err != nil {
		return fmt.Errorf("name %w", err)
	}
	switch taken := func(o MoreListener) bool { return o.Name == l.Name }; {
	case l.Name == "http", l.Name == "https", l.Name == "mesh", slices.ContainsFunc(others, taken):
		return fmt.Errorf("name %q: taken by another listener", l.Name)
	}
	if err := checkAddress(l.Address); err != nil {
		return fmt.Errorf("address %w", err)
	}
	if l.TLS == nil {
		return nil
	}
	if len(l.TLS.Certificates) == 0 {
		return errors.New("tls needs certificates")
	}
	for _, c := range l.TLS.Certificates {
		if c.Cert == "" || c.Key == "" {
			return errors.New("a certificate needs both cert and key")
		}
	}
	return nil
}

// notAList refuses a value of moreKey that is none.
func notAList(*draft, []string) error {
	return errors.New("want a list of listeners, each with name, address and, for HTTPS, tls")
}
