package routetable

import (
	"slices"
	"strings"
)

// Alone says why requests for u cannot fail over: when its one endpoint, or the
// one region of all, is out, they have nowhere to go. It is empty where they
// have, where nothing is served anyway, and where the file wants it so by
// failover: {enabled: false}.
func (u *Upstream) Alone() string {
	var regions []string
	count := 0
	for _, e := range u.Endpoints {
		if e.Weight != nil && *e.Weight == 0 {
			continue
		}
		if count++; strings.HasPrefix(e.URL, srvPrefix) {
			count++ // there may be several
		}
		if !slices.Contains(regions, e.Region) {
			regions = append(regions, e.Region)
		}
	}
	everywhere := slices.Contains(regions, "")
	switch f := u.Failover; {
	case count == 0, f != nil && f.Enabled != nil && !*f.Enabled:
		return ""
	case count == 1:
		return "it has one endpoint"
	case everywhere:
		return ""
	case len(regions) == 1:
		return "all its endpoints are in region " + regions[0]
	case f != nil && len(f.Regions) > 0 && !slices.ContainsFunc(f.Regions, func(r string) bool { return slices.Contains(regions, r) }):
		return "none of failover.regions has an endpoint"
	}
	return ""
}
