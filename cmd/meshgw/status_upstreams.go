package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/meshgw/meshgw/api"
)

// printUpstreams writes where the requests of each upstream go, and how each
// endpoint is: as this node sees it, and as each node says.
func printUpstreams(w io.Writer, all []api.Upstream, now time.Time) {
	if len(all) == 0 {
		return
	}
	say(w, "\nUPSTREAM\tREQUESTS GO TO\tREFUSED\tPENDING\tFAILOVER\n")
	for _, u := range all {
		say(w, "%s\t%s\t%.0f %%\t%d\t%s\n", u.Name, shares(u.Regions), 100*u.Refused, u.Pending, failover(u))
	}
	say(w, "\nENDPOINT\tUPSTREAM\tREGION\tWEIGHT\tSTATE\tBREAKER\tIN FLIGHT\tNODES SAY\n")
	for _, u := range all {
		for _, e := range u.Endpoints {
			say(w, "%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\n", e.URL, u.Name, orDash(e.Region), e.Weight, state(e, now), orDash(e.Breaker), e.Inflight, verdicts(e, now))
		}
	}
}

// shares is the parts of the regions that get requests.
func shares(regions []api.RegionShare) string {
	var parts []string
	for _, r := range regions {
		if r.Share > 0 {
			parts = append(parts, fmt.Sprintf("%s %.0f %%", r.Region, 100*r.Share))
		}
	}
	return orDash(strings.Join(parts, ", "))
}

func failover(u api.Upstream) string {
	if u.Alone == "" {
		return "-"
	}
	return "none: " + u.Alone
}

// state is how this node sees e, since when and why.
func state(e api.Endpoint, now time.Time) string {
	name := e.State
	if e.Healthy {
		name = "healthy"
	}
	return told(name, e.Since, e.Reason, now)
}

// verdicts is what each node says of e.
func verdicts(e api.Endpoint, now time.Time) string {
	var all []string
	for _, v := range e.Verdicts {
		var says []string
		if v.Check != "unknown" {
			says = append(says, v.Check)
		}
		if v.Breaker != "closed" {
			says = append(says, "breaker "+v.Breaker)
		}
		all = append(all, v.Node+" "+told(strings.Join(says, ", "), v.Since, v.Reason, now))
	}
	return orDash(strings.Join(all, "; "))
}

// told is a word with its age and reason: down 12s (status 500).
func told(word string, since time.Time, reason string, now time.Time) string {
	if !since.IsZero() {
		word += " " + max(0, now.Sub(since)).Round(time.Second).String()
	}
	if reason != "" {
		word += " (" + reason + ")"
	}
	return word
}
