package discovery_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meshgw/meshgw/dataplane/discovery"
)

// names is a name server for one name.
type names struct {
	mu      sync.Mutex // guards the rest
	answers []netip.Addr
	err     error
	asked   int
}

func (n *names) set(err error, answers ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err, n.answers = err, answers
}

// lookup takes a second to answer.
func (n *names) lookup(ctx context.Context, _ string) ([]netip.Addr, error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.answers, n.err
}

func resolver(n *names) *discovery.Resolver {
	return discovery.NewResolver("a.test", 80, n.lookup, func(f func()) { go f() })
}

func ip(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }

func TestTheFirstLookupIsSharedAndOutlivesItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{answers: []netip.Addr{ip(1)}}
		r := resolver(n)
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if _, err := r.Addresses(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("before the answer: %v", err)
			}
			cancel()
		}
		got, err := r.Addresses(t.Context())
		if err != nil || len(got) != 1 || got[0] != netip.AddrPortFrom(ip(1), 80) || n.asked != 1 {
			t.Errorf("got %v, %v after %d lookups", got, err, n.asked)
		}
	})
}

func TestAllAddressesComeFirstInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := resolver(&names{answers: []netip.Addr{ip(1), ip(2), ip(3)}})
		first := map[netip.AddrPort]int{}
		for range 9 {
			got, err := r.Addresses(t.Context())
			if err != nil || len(got) != 3 {
				t.Fatalf("got %v, %v", got, err)
			}
			first[got[0]]++
		}
		if len(first) != 3 || first[netip.AddrPortFrom(ip(1), 80)] != 3 {
			t.Errorf("first were %v, want each three times", first)
		}
	})
}

func TestOldAddressesAreRefreshedInTheBackgroundAndKeptOnFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{answers: []netip.Addr{ip(1)}}
		r := resolver(n)
		is := func(when string, want netip.Addr) {
			t.Helper()
			begun := time.Now()
			got, err := r.Addresses(t.Context())
			if err != nil || got[0].Addr() != want || when != "first" && time.Since(begun) > 0 {
				t.Errorf("%s: %v, %v after %v, want %v at once", when, got, err, time.Since(begun), want)
			}
		}
		is("first", ip(1))
		n.set(nil, ip(2))
		time.Sleep(11 * time.Second)
		is("while they are refreshed", ip(1))
		time.Sleep(2 * time.Second)
		is("refreshed", ip(2))
		n.set(errors.New("no such name"))
		time.Sleep(11 * time.Second)
		is("while a refresh fails", ip(2))
		time.Sleep(2 * time.Second)
		is("after it failed", ip(2))
	})
}
