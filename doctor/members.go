package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meshgw/meshgw/api"
)

const (
	maxSkew   = time.Second
	quiet     = 3 * time.Second // without a packet of another, in a small mesh; in a large one two nodes talk more seldom
	quietEach = time.Second     // more for each node
)

// members: who is out of reach, links that work one way or not at all, what looks
// like a partition, and clocks.
func (r Round) members() api.Check {
	c := api.Check{Name: api.CheckMembers}
	c.Summary = of(len(r.Answers), "node") + " " + agrees(len(r.Answers), "answers", "answer")
	if len(r.Silent) > 0 {
		c.Summary = fmt.Sprintf("%d of %s answer", len(r.Answers), of(len(r.Answers)+len(r.Silent), "node"))
	}
	lost := r.lost()
	c.Findings = append(c.Findings, r.partition(lost)...)
	for _, s := range r.Silent {
		if _, failed := lost.nodes[s.Name]; !failed && s.Status == api.MemberAlive {
			c.Findings = append(c.Findings, api.Finding{
				What: fmt.Sprintf("%s is alive by gossip and does not answer: %s%s", s.Name, s.Reason, s.timeHint()), Nodes: []string{s.Name}, Next: "serf reachability",
			})
		}
	}
	for _, name := range lost.keys {
		c.Findings = append(c.Findings, api.Finding{
			What:  fmt.Sprintf("%s has failed, says %s (if it is gone for good: serf force-leave -prune %s)", name, list(lost.nodes[name]), name),
			Nodes: []string{name}, Since: lost.since[name], Next: "serf members -status failed",
		})
	}
	links := r.links(lost)
	if len(r.Answers) > 1 && len(links)+len(lost.keys) == 0 {
		c.Summary += ", each reaches each"
	}
	c.Findings = append(c.Findings, links...)
	c.Findings = append(c.Findings, r.clocks()...)
	var builds groups[string]
	for _, a := range r.Answers {
		builds.add(a.Build, a.Node, time.Time{})
	}
	if len(builds.keys) > 1 {
		for _, build := range builds.keys {
			c.Notes = append(c.Notes, api.Finding{
				What: fmt.Sprintf("%s %s meshgw %s", list(builds.nodes[build]), agrees(len(builds.nodes[build]), "runs", "run"), build), Nodes: builds.nodes[build], Next: "meshgw status",
			})
		}
	}
	return c
}

// timeHint says what else a certificate that one side takes for expired may mean.
func (s Silent) timeHint() string {
	if strings.Contains(s.Reason, "expired") { // also of those that are not valid yet
		return " (or a clock is wrong)"
	}
	return ""
}

// lost is who has failed, and who says so.
func (r Round) lost() (lost groups[string]) {
	for _, a := range r.Answers {
		for _, m := range a.Members {
			if m.Status == api.MemberFailed {
				lost.add(m.Name, a.Node, m.Since)
			}
		}
	}
	slices.Sort(lost.keys)
	return lost
}

// partition tells what looks like a cut of the network from the deaths of nodes.
func (r Round) partition(lost groups[string]) (all []api.Finding) {
	var isolated []string
	regions, gone, seen := map[string]int{}, map[string]int{}, map[string]bool{}
	for _, a := range r.Answers {
		if a.Isolated {
			isolated = append(isolated, a.Node)
		}
		for _, m := range append(a.Members, Member{Name: a.Node, Region: a.Region}) {
			if seen[m.Name] {
				continue
			}
			seen[m.Name] = true
			regions[m.Region]++
			if slices.Contains(lost.keys, m.Name) {
				gone[m.Region]++
			}
		}
	}
	if len(isolated) > 0 {
		all = append(all, api.Finding{
			What:  fmt.Sprintf("%s %s less than half of the mesh: most likely a partition", list(isolated), agrees(len(isolated), "sees", "see")),
			Nodes: isolated, Next: "serf reachability",
		})
	}
	for _, region := range slices.Sorted(maps.Keys(gone)) {
		if gone[region] == regions[region] && gone[region] > 1 {
			all = append(all, api.Finding{
				What: fmt.Sprintf("all %d nodes of region %s are out of sight: most likely a partition", gone[region], region), Next: "serf reachability",
			})
		}
	}
	for _, name := range lost.keys { // some see it die, others live
		var alive []string
		for _, a := range r.Answers {
			if slices.ContainsFunc(a.Members, func(m Member) bool { return m.Name == name && m.Status == api.MemberAlive }) {
				alive = append(alive, a.Node)
			}
		}
		if len(alive) > 0 {
			all = append(all, api.Finding{
				What:  fmt.Sprintf("%s is alive for %s and failed for %s: most likely a partition", name, list(alive), list(lost.nodes[name])),
				Nodes: []string{name}, Next: "serf reachability",
			})
		}
	}
	return all
}

// links: pairs of living nodes whose packets do not come through, each pair once.
func (r Round) links(lost groups[string]) (all []api.Finding) {
	long := quiet + time.Duration(len(r.Answers))*quietEach
	type view struct{ silent, known bool }
	hears := map[[2]string]view{} // whether the first hears the second
	for _, a := range r.Answers {
		for _, m := range a.Members {
			hears[[2]string{a.Node, m.Name}] = view{silent: m.Heard > long.Seconds(), known: m.Heard >= 0}
		}
	}
	told := map[[2]string]bool{}
	for _, a := range r.Answers {
		for _, m := range a.Members {
			pair := [2]string{min(a.Node, m.Name), max(a.Node, m.Name)}
			if m.Status != api.MemberAlive || m.Reached || told[pair] || slices.Contains(lost.keys, m.Name) || r.mute(m.Name) {
				continue
			}
			told[pair] = true
			there, back := hears[[2]string{m.Name, a.Node}], hears[[2]string{a.Node, m.Name}]
			what := fmt.Sprintf("packets of %s and %s do not reach each other", pair[0], pair[1])
			switch {
			case there.silent && back.known && !back.silent:
				what = oneWay(a.Node, m.Name)
			case back.silent && there.known && !there.silent:
				what = oneWay(m.Name, a.Node)
			case back.known && !back.silent:
				what = fmt.Sprintf("%s does not answer packets of %s, whose others it gets: packets are lost between them", m.Name, a.Node)
			}
			all = append(all, api.Finding{What: what, Nodes: pair[:], Next: fmt.Sprintf("ping -c 3 %s # on %s", m.Host, a.Node)})
		}
	}
	return all
}

// mute reports whether a node neither answers nor is reached by anybody: that is
// no matter of links.
func (r Round) mute(name string) bool {
	if !slices.ContainsFunc(r.Silent, func(s Silent) bool { return s.Name == name }) {
		return false
	}
	return !slices.ContainsFunc(r.Answers, func(a Answer) bool {
		return slices.ContainsFunc(a.Members, func(m Member) bool { return m.Name == name && m.Reached })
	})
}

func oneWay(from, to string) string {
	return fmt.Sprintf("packets of %s do not reach %s, those of %s reach %s: the link works one way", from, to, to, from)
}

// clocks: who is off by more than maxSkew, for sure, by the clock of who asked.
func (r Round) clocks() (all []api.Finding) {
	for _, a := range r.Answers {
		if a.Node == r.Node {
			continue
		}
		off := time.Duration(0)
		switch {
		case a.Clock.Before(a.Asked):
			off = a.Clock.Sub(a.Asked)
		case a.Clock.After(a.Answered):
			off = a.Clock.Sub(a.Answered)
		}
		if off.Abs() > maxSkew {
			all = append(all, api.Finding{
				What:  fmt.Sprintf("the clock of %s is %v %s that of %s", a.Node, off.Abs().Round(100*time.Millisecond), aheadOf(off), r.Node),
				Nodes: []string{a.Node}, Next: "chronyc tracking",
			})
		}
	}
	return all
}

func aheadOf(off time.Duration) string {
	if off > 0 {
		return "ahead of"
	}
	return "behind"
}
