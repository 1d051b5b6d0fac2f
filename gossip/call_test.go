package gossip_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/meshgw/meshgw/gossip"
)

// asked starts a mesh of two, of which each says its name to "name", repeats to
// "echo", refuses "no" and is slow at "slow".
func asked(l *lab) *labNode {
	for i, name := range []string{"n1", "n2"} {
		l.start(name, []string{"10.0.0.1", "10.0.0.2"}[i], func(c *gossip.Config) {
			c.Services = map[string]gossip.Service{
				"name": func([]byte) ([]byte, error) { return []byte(name), nil },
				"echo": func(request []byte) ([]byte, error) { return request, nil },
				"no":   func([]byte) ([]byte, error) { return nil, errors.New("not today") },
				"slow": func([]byte) ([]byte, error) { time.Sleep(3 * time.Second); return nil, nil },
			}
		})
	}
	l.within(10*time.Second, "both see both", func() bool { return l.allSee(2) })
	return l.nodes[0]
}

func TestANodeAsksAnyNodeByItsName(t *testing.T) {
	bubble(t, func(l *lab) {
		n := asked(l)
		for _, member := range []string{"n1", "n2"} {
			if got, err := n.Call(l.t.Context(), member, "name", nil); err != nil || string(got) != member {
				l.t.Errorf("%s answers %q, %v", member, got, err)
			}
		}
		large := bytes.Repeat([]byte("x"), gossip.MaxAnswer)
		if got, err := n.Call(l.t.Context(), "n2", "echo", large); err != nil || !bytes.Equal(got, large) {
			l.t.Errorf("the largest answer: %d bytes, %v", len(got), err)
		}
	})
}

func TestACallThatHasNoAnswerSaysWhy(t *testing.T) {
	bubble(t, func(l *lab) {
		n := asked(l)
		for _, tt := range []struct {
			member, service string
			request         []byte
			want            string
		}{
			{"n2", "no", nil, "not today"},
			{"n1", "no", nil, "not today"},
			{"n2", "nonsense", nil, `no service "nonsense"`},
			{"n1", "nonsense", nil, `no service "nonsense"`},
			{"n2", "echo", make([]byte, gossip.MaxAnswer+1), "at most"},
			{"n1", "echo", make([]byte, gossip.MaxAnswer+1), "at most"},
			{"n9", "name", nil, gossip.ErrNotAlive.Error()},
		} {
			if got, err := n.Call(l.t.Context(), tt.member, tt.service, tt.request); err == nil || !strings.Contains(err.Error(), tt.want) {
				l.t.Errorf("%s of %s: %d bytes, %v, want %q", tt.service, tt.member, len(got), err, tt.want)
			}
		}
	})
}

func TestACallEndsWithItsContext(t *testing.T) {
	bubble(t, func(l *lab) {
		n := asked(l)
		ctx, cancel := context.WithTimeout(l.t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := n.Call(ctx, "n2", "slow", nil); !errors.Is(err, context.DeadlineExceeded) {
			l.t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 1100*time.Millisecond {
			l.t.Errorf("gave up after %v", took)
		}
	})
}

func TestAServiceCannotTakeTheNameOfOneOfGossips(t *testing.T) {
	_, err := gossip.New(gossip.Config{
		Services: map[string]gossip.Service{"sync": func([]byte) ([]byte, error) { return nil, nil }},
	}, nil, zerolog.Nop())
	if err == nil {
		t.Error("it did")
	}
}
