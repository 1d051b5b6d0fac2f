package routetable

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// Address is one endpoint of a Service.
type Address struct {
	URL      string // as written, without a trailing slash
	SRV      bool   // Host is no host but a name whose SRV records tell hosts and ports
	TLS      bool   // https
	HostPort string // host:port to dial, IPv6 in brackets
	Host     string // without port and brackets
	Port     int
	BasePath string // put before every request's path; empty or "/x" without a trailing slash
	Region   string // empty = every region's own
	Weight   int    // 0 = drained
	Priority int    // those of a higher one get requests only where none of a lower can
}

// srvPrefix before the scheme of an endpoint says that it is found by SRV records,
// as in --join.
const srvPrefix = "dnssrv+"

var errAddress = errors.New("expected http:// or https://, a host and maybe a port and a base path, such as http://10.0.1.10:8080, or dnssrv+http:// and a name of SRV records")

// parseAddress reads the URL of an endpoint: http or https, a host, a port if
// it is not the scheme's own, and a path to put before every request's.
func parseAddress(text string) (Address, error) {
	plain, srv := strings.CutPrefix(text, srvPrefix)
	u, err := url.Parse(plain)
	if err != nil || srv && u.Port() != "" {
		return Address{}, errAddress
	}
	port := schemePort(u.Scheme)
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return Address{}, errAddress
		}
	}
	host := u.Hostname()
	ok := (u.Scheme == "http" || u.Scheme == "https") && validHost(host) && u.User == nil &&
		u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && !strings.HasSuffix(u.Host, ":") &&
		!strings.Contains(u.Path, "//")
	if !ok {
		return Address{}, errAddress
	}
	return Address{
		URL:      strings.TrimRight(text, "/"),
		SRV:      srv,
		TLS:      u.Scheme == "https",
		HostPort: joinHostPort(host, port),
		Host:     host,
		Port:     port,
		BasePath: strings.TrimRight(u.EscapedPath(), "/"),
	}, nil
}

func joinHostPort(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}
