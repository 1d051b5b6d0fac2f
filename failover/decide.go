package failover

import "slices"

// Witness is what one live node of a region reports about an endpoint.
type Witness struct {
	ID     string
	Check  CheckVerdict
	Open   bool   // its breaker is not closed
	Silent bool   // nothing was heard of it for two intervals of the check
	Reason string // why its breaker opened, else why its checks fail
}

// Decision is the joint verdict of the nodes of a region on an endpoint.
type Decision struct {
	Peers  bool   // out: breakers of the region's nodes are open
	Checks bool   // out: its checks fail
	Reason string // for status; empty when neither
}

// Out reports whether the endpoint gets no requests by d.
func (d Decision) Out() bool { return d.Peers || d.Checks }

// Decide derives the verdict on an endpoint from the reports of the nodes of its
// region, for the node self, which need not be one of them. checkers are the result
// of Checkers.
//
// A breaker that is open at two nodes of the region, or at its only one, counts for
// all of them: a node whose own path is broken excludes the endpoint for itself
// only. It does not count for nodes whose own breaker is open, since somebody has to
// probe. novice says that self has seen no answer of the endpoint since it started,
// so that it adopts the view of the others.
//
// Health checks exclude an endpoint if two of the checkers that report say so, or
// the only one.
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
