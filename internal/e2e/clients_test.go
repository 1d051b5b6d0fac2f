package e2e

import (
	"fmt"
	"net/http"
	"os"
)

// overHTTP2 has clients of the data plane speak HTTP/2: see make test-http2.
func overHTTP2() bool { return os.Getenv("MESHGW_HTTP2") != "" }

// clientTransport connects clients to data planes, by the version of HTTP that is
// asked for, and keeps so many idle connections to each.
func clientTransport(idle int) *http.Transport {
	t := &http.Transport{MaxIdleConnsPerHost: idle, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(!overHTTP2())
	t.Protocols.SetUnencryptedHTTP2(overHTTP2())
	return t
}

// client is one of the data plane that tests share.
var client = &http.Client{Transport: clientTransport(2)}

// inVersion reports an error if an answer came in another version of HTTP than is
// asked for.
func inVersion(resp *http.Response) error {
	if (resp.ProtoMajor == 2) != overHTTP2() {
		return fmt.Errorf("answered in %s", resp.Proto)
	}
	return nil
}
