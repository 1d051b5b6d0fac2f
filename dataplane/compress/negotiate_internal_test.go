package compress

import (
	"bytes"
	"testing"

	"github.com/meshgw/meshgw/dataplane/message"
)

func FuzzAcceptEncoding(f *testing.F) {
	for _, s := range []string{"gzip, zstd", "gzip;q=0.5,*;q=1.0", "*, zstd;q=0", "gzip;q=1.0001", "gzip ; q=", ";q=1,,"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		fields := message.Append(nil, "accept-encoding", value)
		got := Accepted(fields, []string{"zstd", "gzip"})
		if got == "" {
			return
		}
		weight, named := weightOf(fields, got)
		if !named {
			weight, _ = weightOf(fields, "*")
		}
		if weight < 1 || weight > 1000 || bytes.Equal(value, []byte(got+";q=0")) {
			t.Fatalf("%q chosen by %q with weight %d", got, value, weight)
		}
	})
}
