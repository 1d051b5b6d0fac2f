package api

import (
	"errors"
	"strconv"
)

// Wait is how many nodes hold a version of the table.
type Wait struct {
	Wanted int         `json:"wanted"` // nodes that have to hold it
	Held   int         `json:"held"`
	Late   []DriftNode `json:"late"` // live members that do not
}

// Done reports whether as many nodes hold the table as were wanted.
func (w Wait) Done() bool { return w.Held >= w.Wanted }

// CheckWait refuses what is not all, region, a number of nodes or empty.
func CheckWait(what string) error {
	if n, err := strconv.Atoi(what); what != "all" && what != "region" && what != "" && (err != nil || n < 1) {
		return errors.New("want all, region or a number of nodes")
	}
	return nil
}

// Held counts the live members that hold version or a newer one. Members that
// are not alive are not waited for; what is as CheckWait has it.
func (s Status) Held(what string, version uint64) Wait {
	w := Wait{Late: []DriftNode{}}
	for _, m := range s.Members {
		if m.Status != MemberAlive || what == "region" && m.Region != s.Node.Region {
			continue
		}
		w.Wanted++
		if m.RoutesVersion >= version {
			w.Held++
		} else {
			w.Late = append(w.Late, s.late(m, version))
		}
	}
	if n, err := strconv.Atoi(what); err == nil {
		w.Wanted = n
	}
	return w
}

// late says why a member is late, where the node knows it.
func (s Status) late(m Member, version uint64) DriftNode {
	for _, d := range s.Drift.Nodes {
		if d.Name == m.Name {
			return d
		}
	}
	return DriftNode{Name: m.Name, RoutesVersion: m.RoutesVersion, RoutesDigest: m.RoutesDigest, VersionsBehind: version - m.RoutesVersion}
}
