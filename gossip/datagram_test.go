package gossip_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/meshgw/meshgw/gossip"
)

func TestDatagramsReachTheServiceOfOneMember(t *testing.T) {
	bubble(t, func(l *lab) {
		got := make(chan string, 10)
		for i := range 3 {
			name := fmt.Sprintf("n%d", i+1)
			l.start(name, fmt.Sprintf("10.0.0.%d", i+1), func(c *gossip.Config) {
				c.Datagrams = map[string]func([]byte){"echo": func(data []byte) { got <- name + ":" + string(data) }}
			})
		}
		l.within(10*time.Second, "all see all", func() bool { return l.allSee(3) })
		n1, n2 := l.nodes[0], l.nodes[1]
		n1.Datagram("n2", "echo", []byte("a"))
		n1.Datagram("n2", "nobody", []byte("b"))
		n1.Datagram("n9", "echo", []byte("c"))
		n1.Datagram("n2", "echo", make([]byte, gossip.MaxDatagram+1))
		time.Sleep(time.Second)
		if len(got) != 1 || <-got != "n2:a" {
			t.Errorf("got %d more, want n2:a alone", len(got))
		}
		if unsent := n1.Stats().DatagramsUnsent; unsent != 2 {
			t.Errorf("%d unsent, want 2", unsent)
		}
		if refused := n2.Stats().Refused[gossip.Refusal{What: "frame", Reason: "unknown_service"}]; refused != 1 {
			t.Errorf("%d refused, want 1", refused)
		}
	})
}
