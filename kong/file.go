package kong

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"
)

// The nouns of Kong's file, as far as they are translated.

type file struct {
	Version   string     `yaml:"_format_version"`
	Services  []service  `yaml:"services"`
	Routes    []route    `yaml:"routes"`
	Upstreams []upstream `yaml:"upstreams"`
	Targets   []target   `yaml:"targets"`
	Consumers []consumer `yaml:"consumers"`
	Plugins   []plugin   `yaml:"plugins"`
	Rest      rest       `yaml:",inline"`
}

// rest is what is not translated, so that it can be told.
type rest map[string]yaml.Node

type service struct {
	Name           string   `yaml:"name"`
	Enabled        *bool    `yaml:"enabled"`
	URL            string   `yaml:"url"`
	Protocol       string   `yaml:"protocol"`
	Host           string   `yaml:"host"`
	Port           int      `yaml:"port"`
	Path           string   `yaml:"path"`
	ConnectTimeout int      `yaml:"connect_timeout"` // ms, like the next
	ReadTimeout    int      `yaml:"read_timeout"`
	Retries        *int     `yaml:"retries"`
	TLSVerify      *bool    `yaml:"tls_verify"`
	Routes         []route  `yaml:"routes"`
	Plugins        []plugin `yaml:"plugins"`
	Rest           rest     `yaml:",inline"`
}

type route struct {
	Name          string              `yaml:"name"`
	Service       reference           `yaml:"service"`
	Hosts         []string            `yaml:"hosts"`
	Paths         []string            `yaml:"paths"`
	Methods       []string            `yaml:"methods"`
	Headers       map[string][]string `yaml:"headers"`
	Protocols     []string            `yaml:"protocols"`
	StripPath     *bool               `yaml:"strip_path"`
	PreserveHost  bool                `yaml:"preserve_host"`
	RedirectHTTPS int                 `yaml:"https_redirect_status_code"`
	SNIs          []string            `yaml:"snis"`
	Expression    string              `yaml:"expression"`
	Plugins       []plugin            `yaml:"plugins"`
	Rest          rest                `yaml:",inline"`
}

type upstream struct {
	Name         string   `yaml:"name"`
	Algorithm    string   `yaml:"algorithm"`
	HashOn       string   `yaml:"hash_on"`
	HashOnHeader string   `yaml:"hash_on_header"`
	HashOnCookie string   `yaml:"hash_on_cookie"`
	HostHeader   string   `yaml:"host_header"`
	Targets      []target `yaml:"targets"`
	Healthchecks struct {
		Active struct {
			HTTPPath string  `yaml:"http_path"`
			Timeout  float64 `yaml:"timeout"` // s, like the intervals
			Healthy  struct {
				Interval  float64 `yaml:"interval"`
				Successes int     `yaml:"successes"`
			} `yaml:"healthy"`
			Unhealthy struct {
				Interval     float64 `yaml:"interval"`
				HTTPFailures int     `yaml:"http_failures"`
			} `yaml:"unhealthy"`
		} `yaml:"active"`
	} `yaml:"healthchecks"`
	Rest rest `yaml:",inline"`
}

type target struct {
	Target   string    `yaml:"target"`
	Weight   *int      `yaml:"weight"`
	Upstream reference `yaml:"upstream"`
}

type consumer struct {
	Username string `yaml:"username"`
	CustomID string `yaml:"custom_id"`
	Keys     []struct {
		Key string `yaml:"key"`
	} `yaml:"keyauth_credentials"`
	Groups  []group  `yaml:"acls"`
	Plugins []plugin `yaml:"plugins"`
	Rest    rest     `yaml:",inline"`
}

type group struct {
	Group string `yaml:"group"`
}

// isOneOf reports whether the consumer is in one of groups.
func (c *consumer) isOneOf(groups []string) bool {
	return slices.ContainsFunc(c.Groups, func(g group) bool { return slices.Contains(groups, g.Group) })
}

type plugin struct {
	Name     string    `yaml:"name"`
	Enabled  *bool     `yaml:"enabled"`
	Service  reference `yaml:"service"`
	Route    reference `yaml:"route"`
	Consumer reference `yaml:"consumer"`
	Config   yaml.Node `yaml:"config"`
}

// read decodes the plugin's configuration into c.
func (p *plugin) read(c any) error {
	if p.Config.IsZero() {
		return nil
	}
	return p.Config.Decode(c)
}

// reference names another object, by its name or as a mapping that holds it.
type reference string

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *reference) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*r = reference(n.Value)
		return nil
	}
	var named struct{ Name, ID, Username string }
	if err := n.Decode(&named); err != nil {
		return err
	}
	for _, name := range []string{named.Name, named.Username, named.ID} {
		if name != "" {
			*r = reference(name)
			return nil
		}
	}
	return nil
}

// read decodes a file, and puts what may stand at its top level beside what it
// belongs to.
func read(doc []byte) (*file, error) {
	var f file
	if err := yaml.Unmarshal(doc, &f); err != nil {
		return nil, fmt.Errorf("read Kong file: %w", err)
	}
	if f.Version == "" {
		return nil, errors.New("read Kong file: no _format_version: is it one of Kong's?")
	}
	for _, t := range f.Targets {
		for i := range f.Upstreams {
			if u := &f.Upstreams[i]; u.Name == string(t.Upstream) {
				u.Targets = append(u.Targets, t)
			}
		}
	}
	for _, r := range f.Routes {
		for i := range f.Services {
			if s := &f.Services[i]; r.Service != "" && s.Name == string(r.Service) {
				s.Routes = append(s.Routes, r)
			}
		}
	}
	return &f, nil
}

func off(enabled *bool) bool { return enabled != nil && !*enabled }
