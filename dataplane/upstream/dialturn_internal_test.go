package upstream

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func newTestPool() *Pool { return &Pool{limit: 512} }

// dialInTurn takes a turn in the background and tells what came of it.
func dialInTurn(ctx context.Context, p *Pool, left <-chan struct{}) <-chan dialTurn {
	came := make(chan dialTurn, 1)
	go func() {
		c, err := p.MayDial(ctx, left)
		came <- dialTurn{c, err}
	}()
	return came
}

// dialing has n tries take a slot and a turn each, and returns how many have it.
func dialing(t *testing.T, p *Pool, n int) (all []<-chan dialTurn) {
	t.Helper()
	for range n {
		p.mu.Lock()
		p.slots++
		p.mu.Unlock()
		all = append(all, dialInTurn(t.Context(), p, nil))
		synctest.Wait()
	}
	return all
}

func ended(all []<-chan dialTurn) (turns, conns, failures int) {
	for _, came := range all {
		select {
		case t := <-came:
			switch {
			case t.err != nil:
				failures++
			case t.conn != nil:
				conns++
			default:
				turns++
			}
		default:
		}
	}
	return turns, conns, failures
}

func TestDialsDoubleWithEachRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool()
		all := dialing(t, p, 100)
		for _, want := range []int{dialsAtOnce, 2 * dialsAtOnce, 4 * dialsAtOnce, 100 - 7*dialsAtOnce} {
			turns, conns, failures := ended(all)
			if turns != want || conns != 0 || failures != 0 {
				t.Fatalf("%d turns, %d connections and %d failures, want %d turns", turns, conns, failures, want)
			}
			for range turns {
				p.Dialed(time.Millisecond, nil, false)
			}
			synctest.Wait()
		}
		if p.dialing != 0 || len(p.dialers) != 0 {
			t.Errorf("%d dial and %d wait in the end", p.dialing, len(p.dialers))
		}
	})
}

func TestOneFailedDialAnswersAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool()
		all := dialing(t, p, 20)
		ended(all)
		p.Dialed(time.Millisecond, errors.New("refused"), false)
		synctest.Wait()
		if turns, _, failures := ended(all); turns != 0 || failures != 20-dialsAtOnce {
			t.Errorf("%d turns and %d failures, want %d failures", turns, failures, 20-dialsAtOnce)
		}
		if more := dialing(t, p, 1); len(more[0]) != 1 {
			t.Error("the turn of who failed is not free")
		}
	})
}

func TestDialsThatTakeLongerAreNotMore(t *testing.T) {
	var p dialPace
	for range 8 {
		p.observe(80*time.Millisecond, false)
	}
	if p.most() != 16 {
		t.Errorf("%d at once after 8, want 16", p.most())
	}
	for range 16 {
		p.observe(160*time.Millisecond, false) // they share what limits them
	}
	if p.most() > 17 {
		t.Errorf("%d at once though they take twice as long", p.most())
	}
	p.observe(500*time.Millisecond, true)
	if p.most() != 12 {
		t.Errorf("%d at once after a failure, want 12", p.most())
	}
}

func TestWhereConnectionsAreOpenAFailureIsOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for out, want := range map[bool][2]int{false: {1, 0}, true: {0, 3}} {
			p := newTestPool()
			p.slots = 5 // that have their connection
			all := dialing(t, p, dialsAtOnce+3)
			ended(all)
			p.Dialed(500*time.Millisecond, errors.New("timeout"), out)
			synctest.Wait()
			if turns, _, failures := ended(all); turns != want[0] || failures != want[1] {
				t.Errorf("out %v: %d turns and %d failures, want %v", out, turns, failures, want)
			}
			p.Dialed(time.Millisecond, errors.New("the rest"), true)
			synctest.Wait()
		}
	})
}

func TestWhoWaitsToDialTakesWhatComesFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool()
		all := dialing(t, p, dialsAtOnce+2)
		ended(all)
		expires := time.Now().Add(time.Hour)
		first, second := &Conn{expires: expires}, &Conn{expires: expires}
		p.Put(first, time.Now())
		synctest.Wait()
		if got := <-all[dialsAtOnce]; got.conn != first {
			t.Errorf("who waited longest got %+v", got)
		}
		left := make(chan struct{})
		close(left)
		if _, err := p.MayDial(t.Context(), left); !errors.Is(err, ErrCanceled) {
			t.Errorf("for a client that left: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.MayDial(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after its time: %v", err)
		}
		p.Put(second, time.Now())
		synctest.Wait()
		if got := <-all[dialsAtOnce+1]; got.conn != second || len(p.idle) != 0 || len(p.dialers) != 0 {
			t.Errorf("the last got %+v; %d are idle, %d wait", got, len(p.idle), len(p.dialers))
		}
	})
}
