package failover_test

import (
	"testing"
	"time"

	"github.com/meshgw/meshgw/failover"
)

// drive sends a request to each of up every 10 ms until the time is over, and
// returns the new now.
func drive(now time.Time, d time.Duration, up ...*failover.Endpoint) time.Time {
	for end := now.Add(d); now.Before(end); now = now.Add(10 * time.Millisecond) {
		for _, e := range up {
			try(now, e, failover.OK, 5*time.Millisecond)
		}
	}
	return now
}

func TestSilentEndpointIsSuspectedWhileOthersAnswer(t *testing.T) {
	all := old(3)
	b := failover.NewBalancer(failover.LeastRequest, candidates(all))
	now := drive(start, time.Second, all...)
	frozen := all[1]
	frozen.Begin(now)
	frozen.Begin(now)
	now = drive(now, 400*time.Millisecond, all[0], all[2])
	if got := b.Suspect(now); len(got) != 0 {
		t.Fatalf("%d suspected after 400ms, want none yet", len(got))
	}
	now = drive(now, 200*time.Millisecond, all[0], all[2])
	if got := b.Suspect(now); len(got) != 1 || got[0] != frozen {
		t.Fatalf("suspected %v after 600ms, want the frozen one", got)
	}
	if got := b.Suspect(now); len(got) != 0 {
		t.Fatalf("suspected twice: %v", got)
	}
	status(t, frozen, now, failover.Suspect)
	if got := picked(t, b, now, 1000); got[frozen] != 0 {
		t.Fatalf("%d requests sent to a suspect that two wait at", got[frozen])
	}
	for range 2 {
		frozen.End(now, failover.Outcome{Kind: failover.Stalled, Latency: 600 * time.Millisecond})
	}
	if got := picked(t, b, now, 1000); got[frozen] != 1 {
		t.Fatalf("%d requests sent to a suspect that none waits at, want one as a probe", got[frozen])
	}
	try(now, frozen, failover.OK, 0)
	status(t, frozen, now, failover.Closed)
}

func TestSuspectWhoStaysSilentOpens(t *testing.T) {
	all := old(2)
	b := failover.NewBalancer(failover.Random, candidates(all))
	now := drive(start, time.Second, all...)
	for range 5 {
		all[0].Begin(now)
	}
	now = drive(now, 600*time.Millisecond, all[1])
	b.Suspect(now)
	for range 5 {
		all[0].End(now, failover.Outcome{Kind: failover.Stalled, Latency: 600 * time.Millisecond})
	}
	status(t, all[0], now, failover.Open)
	if !all[0].Stalled(now) {
		t.Error("no longer stalled once open: tries that hang there would not be given up")
	}
}

func TestFrozenProbeIsGivenUp(t *testing.T) {
	all := old(2)
	b := failover.NewBalancer(failover.Random, candidates(all))
	breakOpen(start, all[0])
	now := drive(start, 34*time.Second, all[1])
	if e, err := b.Pick(now, 1, all[1:]); e != all[0] || err != nil {
		t.Fatalf("Pick = %v, %v; want the probe", e, err)
	}
	all[0].Begin(now)
	now = drive(now, 600*time.Millisecond, all[1])
	if got := b.Suspect(now); len(got) != 1 || !all[0].Stalled(now) {
		t.Fatalf("suspected %v, want the endpoint whose probe hangs", got)
	}
	all[0].End(now, failover.Outcome{Kind: failover.Stalled, Latency: 600 * time.Millisecond})
	status(t, all[0], now, failover.Open)
	all[0].Tried(now, failover.OK)
	status(t, all[0], now, failover.Closed)
}

func TestIdleSuspectIsTriedInTheBackground(t *testing.T) {
	all := old(2)
	b := failover.NewBalancer(failover.Random, candidates(all))
	now := drive(start, time.Second, all...)
	all[0].Begin(now)
	now = drive(now, 600*time.Millisecond, all[1])
	b.Suspect(now)
	all[0].End(now, failover.Outcome{Kind: failover.Canceled})
	status(t, all[0], now, failover.Suspect)
	if !all[0].TryDue(now, failover.NeedNone) {
		t.Fatal("not due")
	}
	all[0].Tried(now, failover.TimedOut)
	status(t, all[0], now, failover.Open)
}

func TestNobodyIsSuspectedWhereAllAreSilentOrSlow(t *testing.T) {
	t.Run("all silent", func(t *testing.T) {
		all := old(3)
		b := failover.NewBalancer(failover.LeastRequest, candidates(all))
		now := drive(start, time.Second, all...)
		for i, e := range all {
			e.Begin(now.Add(time.Duration(i) * time.Millisecond))
		}
		for range 50 {
			now = now.Add(100 * time.Millisecond)
			if got := b.Suspect(now); len(got) != 0 {
				t.Fatalf("suspected %v", got)
			}
		}
	})
	t.Run("all silent, one after the other", func(t *testing.T) {
		all := old(2)
		b := failover.NewBalancer(failover.LeastRequest, candidates(all))
		now := drive(start, time.Second, all...)
		all[0].Begin(now)
		now = drive(now, 150*time.Millisecond, all[1])
		all[1].Begin(now)
		for range 50 {
			now = now.Add(100 * time.Millisecond)
			if got := b.Suspect(now); len(got) != 0 {
				t.Fatalf("suspected %v", got)
			}
		}
	})
	t.Run("the others are idle", func(t *testing.T) {
		all := old(2)
		b := failover.NewBalancer(failover.LeastRequest, candidates(all))
		now := drive(start, time.Second, all...)
		all[0].Begin(now)
		if got := b.Suspect(now.Add(time.Second)); len(got) != 0 {
			t.Fatalf("suspected %v though nobody has answered since", got)
		}
	})
	t.Run("slow by nature", func(t *testing.T) {
		all := old(2)
		b := failover.NewBalancer(failover.LeastRequest, candidates(all))
		now := start.Add(3 * time.Second)
		try(now, all[0], failover.OK, 2*time.Second)
		try(now, all[1], failover.OK, 2*time.Second)
		all[0].Begin(now)
		now = drive(now, 1500*time.Millisecond, all[1])
		if got := b.Suspect(now); len(got) != 0 {
			t.Fatalf("suspected %v after less than it usually takes", got)
		}
	})
	t.Run("idle", func(t *testing.T) {
		all := old(2)
		b := failover.NewBalancer(failover.LeastRequest, candidates(all))
		now := drive(start, 5*time.Second, all[1])
		if got := b.Suspect(now); len(got) != 0 {
			t.Fatalf("suspected %v, which got no requests", got)
		}
		all[0].Begin(now) // its first: silent only from now on
		if got := b.Suspect(now.Add(10 * time.Millisecond)); len(got) != 0 {
			t.Fatalf("suspected %v after 10ms", got)
		}
	})
}

func TestWhereAllAreSilentATryTells(t *testing.T) {
	all := old(2)
	b := failover.NewBalancer(failover.LeastRequest, candidates(all))
	now := drive(start, time.Second, all...)
	for _, e := range all {
		e.Begin(now)
	}
	if b.Silent(now.Add(400 * time.Millisecond)) {
		t.Error("silent after 400 ms")
	}
	now = now.Add(600 * time.Millisecond)
	if !b.Silent(now) {
		t.Fatal("not silent after 600 ms")
	}
	for i, kind := range []failover.Kind{failover.OK, failover.TimedOut} {
		if all[i].TryDue(now, failover.NeedNone) || !all[i].TryDue(now, failover.NeedSilent) {
			t.Fatal("it is not tried, or without need")
		}
		all[i].Tried(now, kind)
	}
	status(t, all[0], now, failover.Closed) // slow to answer what waits, but it answers
	status(t, all[1], now, failover.Open)
	if all[0].Stalled(now) || !all[1].Stalled(now) {
		t.Error("what waits should be given up where the try failed, and only there")
	}
	try(now, all[0], failover.OK, 0)
	if b.Silent(now) {
		t.Error("silent though one answered")
	}
}

func TestAnEndpointThatNeverAnsweredIsNotTriedForItsSilence(t *testing.T) {
	all := endpoints(1)
	all[0].Begin(start)
	if all[0].TryDue(start.Add(time.Minute), failover.NeedSilent) {
		t.Error("its first answer may take time")
	}
}

// A region whose endpoints all freeze may be out by its checks before its silence is
// looked into: what waits there is to go elsewhere too.
func TestWhatWaitsAtASilentEndpointThatIsOutIsGivenUp(t *testing.T) {
	e := old(1)[0]
	now := drive(start, time.Second, e)
	e.Begin(now)
	e.Heed(now, failover.Decision{Checks: true, Reason: "check fails"})
	if now = now.Add(400 * time.Millisecond); e.Stalled(now) {
		t.Error("given up after 0.4 s")
	}
	if now = now.Add(200 * time.Millisecond); !e.Stalled(now) {
		t.Error("not given up after 0.6 s")
	}
	e.Answer(now, failover.Outcome{Kind: failover.OK, Answered: true})
	e.Begin(now)
	if e.Stalled(now) {
		t.Error("given up though it answers")
	}
	e.Heed(now, failover.Decision{})
	if now = now.Add(time.Hour); e.Stalled(now) {
		t.Error("given up though it is in use")
	}
}
