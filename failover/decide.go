package failover

import "slices"

// Witness is what one live node of a region tells of an endpoint.
type Witness struct {
	ID     string
	Check  CheckVerdict
	Open   bool   // its breaker is not closed
	Silent bool   // nothing was heard of it for two intervals of the check
	Reason string // why its breaker opened, else why its checks fail
}

// Decision is what the nodes of a region together say of an endpoint.
type Decision struct {
	Peers  bool   // out: breakers of the region's nodes are open
	Checks bool   // out: its checks fail
	Reason string // for status; empty when neither
}

// Out reports whether the endpoint gets no requests by d.
func (d Decision) Out() bool { return d.Peers || d.Checks }

// Decide weighs what the nodes of an endpoint's region tell of it, for a node
// called self; a self outside the region decides for itself what those in it
// hold. checkers are those of Checkers.
//
// A breaker open at two nodes of the region, or at its only one, counts for all
// of them, so that one with a broken path ejects for nobody but itself. It does
// not count for those with an open breaker themselves: they have to probe, or
// nobody would. novice says that self has seen nothing of the endpoint since it
// started: it takes over what the others hold.
//
// Two of the checkers that talk, or the only one, decide on checks.
func Decide(self string, novice bool, witnesses []Witness, checkers []string) Decision {
	var d Decision
	if reason, out := openAtPeers(self, novice, witnesses); out {
		d.Peers, d.Reason = true, reason
	}
	if reason, out := checkedDown(witnesses, checkers); out {
		d.Checks, d.Reason = true, reason
	}
	return d
}

func openAtPeers(self string, novice bool, witnesses []Witness) (reason string, out bool) {
	open, voters := 0, 0
	for _, w := range witnesses {
		switch {
		case w.ID == self && w.Open:
			return "", false
		case w.ID == self && novice:
			continue
		case w.Open:
			open++
			reason = "breaker open at " + w.ID + ": " + w.Reason
		}
		voters++
	}
	return reason, open > 0 && open >= min(2, voters)
}

func checkedDown(witnesses []Witness, checkers []string) (reason string, out bool) {
	down, talking := 0, 0
	for _, w := range witnesses {
		if w.Silent || !slices.Contains(checkers, w.ID) {
			continue
		}
		talking++
		if w.Check == CheckDown {
			down++
			reason = "check fails at " + w.ID + ": " + w.Reason
		}
	}
	return reason, down > 0 && down >= min(2, talking)
}
