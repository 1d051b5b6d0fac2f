package doctor

import (
	"fmt"
	"time"

	"github.com/meshgw/meshgw/api"
)

// near is from which share of a limit a use of it is a finding.
func near(what string) float64 {
	switch what {
	case CPU:
		return 0.8 // where shedding begins by default
	case UpstreamPending:
		return 0.5 // it should be empty
	case UpstreamBusy:
		return 1 // a busy endpoint is what the bound is for; what waits is counted too
	}
	return 0.9
}

// load: limits that are reached or nearly so.
func (r Round) load() api.Check {
	c := api.Check{Name: api.CheckLoad}
	var cpu float64
	for _, a := range r.Answers {
		for _, u := range a.Uses {
			if u.Limit <= 0 {
				continue
			}
			share := u.Used / u.Limit
			if u.What == CPU {
				cpu = max(cpu, share)
			}
			if share >= near(u.What) {
				c.Findings = append(c.Findings, api.Finding{What: a.Node + ": " + used(u), Nodes: []string{a.Node}, Next: nextForUse(u)})
			}
		}
		if a.Shedding {
			c.Findings = append(c.Findings, api.Finding{
				What: a.Node + " is overloaded and refuses a share of its requests", Nodes: []string{a.Node}, Next: "meshgw top",
			})
		}
	}
	for _, s := range r.Silent {
		if s.Status == api.MemberAlive && s.Descriptors >= near(Descriptors) {
			c.Findings = append(c.Findings, api.Finding{
				What:  fmt.Sprintf("%s: %.0f %% of its file descriptors are open, as it last told the mesh; it takes no connection any more", s.Name, 100*s.Descriptors),
				Nodes: []string{s.Name}, Next: nextForUse(Use{What: Descriptors}),
			})
		}
	}
	c.Summary = fmt.Sprintf("no limit is near; the busiest node uses %.0f %% of its CPU", 100*cpu)
	if len(c.Findings) > 0 {
		c.Summary = "limits are near or reached"
	}
	return c
}

// used says how much of what is in use.
func used(u Use) string {
	percent := fmt.Sprintf("%.0f %%", 100*u.Used/u.Limit)
	switch u.What {
	case CPU:
		return percent + " of the CPU that it may use"
	case Memory:
		return fmt.Sprintf("%s of the memory that its cgroup allows, %s", percent, mebibytes(u.Limit))
	case Heap:
		return fmt.Sprintf("%s of the memory that Go may use, %s", percent, mebibytes(u.Limit))
	case Descriptors:
		return fmt.Sprintf("%.0f of %.0f file descriptors are open", u.Used, u.Limit)
	case Connections:
		return fmt.Sprintf("%.0f of %.0f client connections are open", u.Used, u.Limit)
	case Requests:
		return fmt.Sprintf("%.0f of %.0f requests are in flight", u.Used, u.Limit)
	case UpstreamPending:
		return fmt.Sprintf("%.0f requests wait for a connection to %s, of %.0f that may", u.Used, u.Of, u.Limit)
	case UpstreamBusy:
		return fmt.Sprintf("all %.0f connections to %s are in use", u.Limit, u.Of)
	}
	return fmt.Sprintf("%s of %s", percent, u.What)
}

func mebibytes(bytes float64) string { return fmt.Sprintf("%.0f MiB", bytes/(1<<20)) }

func nextForUse(u Use) string {
	switch u.What {
	case Memory, Heap:
		return "go tool pprof http://127.0.0.1:9901/debug/pprof/heap"
	case Descriptors, Connections:
		return "ss -s"
	case UpstreamPending, UpstreamBusy:
		return "meshgw status"
	}
	return "meshgw top"
}

// since is how long ago, for people.
func since(now, then time.Time) string { return now.Sub(then).Round(time.Second).String() }
