package discovery

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestReadSRV(t *testing.T) {
	for _, c := range []struct {
		name    string
		records []string
		want    int
		ttl     time.Duration
		refused bool
	}{
		{"an alias on the way, the shortest lifetime", []string{"a. 5 IN CNAME b.", "b. 60 IN SRV 1 2 80 X.Test.", "b. 60 IN SRV 1 2 81 x.test."}, 2, 5 * time.Second, false},
		{"the same twice", []string{"a. 9 IN SRV 1 2 80 x.", "a. 9 IN SRV 2 1 80 X."}, 1, 9 * time.Second, false},
		{"not served, as the name says", []string{"a. 9 IN SRV 0 0 0 ."}, 0, 9 * time.Second, false},
		{"no port, and a name that is none of a host", []string{"a. 9 IN SRV 1 2 0 x.", `a. 9 IN SRV 1 2 80 x\013\010y.`}, 0, 0, true},
		{"nothing", nil, 0, 0, true},
	} {
		answer := new(dns.Msg)
		for _, text := range c.records {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			answer.Answer = append(answer.Answer, rr)
		}
		records, ttl, err := readSRV(answer)
		if len(records) != c.want || ttl != c.ttl || (err != nil) != c.refused {
			t.Errorf("%s: got %v for %v, %v", c.name, records, ttl, err)
		}
	}
}
