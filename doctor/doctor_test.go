package doctor_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/doctor"
)

// now is when the tests look.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// well is a mesh of three nodes in two regions in which nothing is wrong.
func well() doctor.Round {
	r := doctor.Round{Node: "eu-1", Now: now}
	names := []string{"eu-1", "eu-2", "us-1"}
	for _, name := range names {
		f := doctor.Facts{
			Node: name, Region: name[:2], Build: "v1", Clock: now.Add(20 * time.Millisecond),
			Routes:    api.RoutesStatus{Version: 12, Digest: "0123456789abcdef"},
			Upstreams: []doctor.Upstream{{Name: "orders", Total: map[string]int{"eu": 2, "us": 1}}},
			Uses:      []doctor.Use{{What: doctor.CPU, Used: .3, Limit: 1}, {What: doctor.Requests, Used: 50}},
			Keys:      []string{"aaa", "bbb"},
			Certificates: []doctor.Certificate{
				{Use: "https", Names: "api.example.com", Fingerprint: "11", From: now.AddDate(0, -1, 0), Until: now.AddDate(0, 2, 0)},
				{Use: "mesh", Names: name, Fingerprint: name, From: now.AddDate(0, -1, 0), Until: now.AddDate(1, 0, 0)},
				{Use: "mesh_ca", Names: "mesh", Fingerprint: "ca", From: now.AddDate(0, -1, 0), Until: now.AddDate(9, 0, 0)},
			},
			Traffic: []doctor.Traffic{{Route: "orders", Age: time.Minute, Rate: 100, UsualRate: 95, Errors: .01, UsualErrors: .01}},
		}
		for _, other := range names {
			if other != name {
				f.Members = append(f.Members, doctor.Member{Name: other, Region: other[:2], Host: "10.0.0.9", Status: api.MemberAlive, Reached: true, Heard: 1})
			}
		}
		r.Answers = append(r.Answers, doctor.Answer{Facts: f, Asked: now, Answered: now.Add(50 * time.Millisecond)})
	}
	return r
}

// member is how a sees b.
func member(r doctor.Round, a, b string) *doctor.Member {
	for i := range r.Answers {
		if r.Answers[i].Node == a {
			m := r.Answers[i].Members
			return &m[slices.IndexFunc(m, func(m doctor.Member) bool { return m.Name == b })]
		}
	}
	panic("no " + a)
}

func TestAWellMeshHasSevenLinesAndNoFinding(t *testing.T) {
	d := doctor.Judge(well())
	var names []string
	for _, c := range d.Checks {
		names = append(names, c.Name)
		if !c.OK || len(c.Findings)+len(c.Notes) > 0 || c.Summary == "" {
			t.Errorf("%+v", c)
		}
	}
	if got := strings.Join(names, " "); got != "routes upstreams members load errors certificates traffic" || !d.OK || len(d.Nodes) != 3 {
		t.Errorf("got %s, %+v", got, d)
	}
}

func TestAMeshOfNobodyIsJudged(t *testing.T) {
	if d := doctor.Judge(doctor.Round{Node: "a", Now: now}); len(d.Checks) != 7 || d.Nodes == nil || d.Unanswered == nil {
		t.Errorf("%+v", d)
	}
}

func TestWhatIsWrongIsFoundOnItsLineAlone(t *testing.T) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	drift := func(lag api.DriftNode) func(*doctor.Round) {
		return func(r *doctor.Round) {
			r.Answers[1].Routes.Version, r.Answers[1].Routes.Digest = lag.RoutesVersion, lag.RoutesDigest
			for i := range r.Answers {
				seen := lag
				seen.Since = seen.Since.Add(time.Duration(i) * time.Second)
				r.Answers[i].Drift.Nodes = []api.DriftNode{seen}
			}
		}
	}
	endpoint := api.Endpoint{URL: "http://10.0.0.1", Region: "eu", State: "open", Since: ago(time.Minute), Reason: "connect_failure"}
	for name, test := range map[string]struct {
		harm  func(*doctor.Round)
		check string
		want  []string // findings, each a part of one
		nodes string   // of the first
		next  string   // of the first
	}{
		"two versions behind": {
			drift(api.DriftNode{Name: "eu-2", RoutesVersion: 10, RoutesDigest: "ff", VersionsBehind: 2, Reason: "not received yet", Since: ago(time.Second)}),
			"routes",
			[]string{"eu-2 is on version 10 ff, 2 versions behind: not received yet"},
			"eu-2", "meshgw status --drift",
		},
		"one version behind for a minute": {
			drift(api.DriftNode{Name: "eu-2", RoutesVersion: 11, RoutesDigest: "ff", VersionsBehind: 1, Reason: "not received yet", Since: ago(time.Minute)}),
			"routes",
			[]string{"1 version behind"},
			"eu-2", "meshgw status --drift",
		},
		"an object that a node holds back": {
			func(r *doctor.Round) {
				r.Answers[2].Routes.Pending = []api.Pending{{Kind: "route", Name: "new", Reason: "older binary"}}
				r.Answers[0].Drift.Nodes = []api.DriftNode{{Name: "us-1", RoutesVersion: 12, RoutesDigest: "0123456789abcdef", Reason: "held back: route/new", Since: ago(time.Hour)}}
			},
			"routes",
			[]string{"us-1 is on version 12 0123456789ab, 0 versions behind: held back: route/new", "route new is held and not served: older binary"},
			"us-1", "meshgw status --drift",
		},
		"an edit that lost": {
			func(r *doctor.Round) { r.Answers[0].Routes.Conflicts, r.Answers[1].Routes.Conflicts = 2, 2 },
			"routes",
			[]string{"2 edits lost against a concurrent one and are not settled"},
			"eu-1 eu-2", "meshgw routes history",
		},
		"an open breaker": {
			func(r *doctor.Round) {
				r.Answers[0].Upstreams[0].Bad = []api.Endpoint{endpoint}
				r.Answers[1].Upstreams[0].Bad = []api.Endpoint{endpoint}
			},
			"upstreams",
			[]string{"orders in eu: http://10.0.0.1 is cut off by its circuit breaker (connect_failure)"},
			"eu-1 eu-2", "serf query meshgw-health orders",
		},
		"a region without endpoints": {
			func(r *doctor.Round) {
				second := endpoint
				second.URL, second.State, second.Reason = "http://10.0.0.2", "unhealthy", ""
				r.Answers[0].Upstreams[0].Bad, r.Answers[0].Upstreams[0].Refused = []api.Endpoint{endpoint, second}, .25
			},
			"upstreams",
			[]string{"25 % of the requests are refused", "orders has no endpoint in service in eu", "http://10.0.0.1", "http://10.0.0.2 is unhealthy"},
			"eu-1", "meshgw status",
		},
		"a dead node": {
			func(r *doctor.Round) {
				r.Answers = r.Answers[:2]
				r.Silent = []doctor.Silent{{Name: "us-1", Region: "us", Status: api.MemberFailed, Reason: "not alive"}}
				for i := range r.Answers {
					*member(*r, r.Answers[i].Node, "us-1") = doctor.Member{Name: "us-1", Region: "us", Status: api.MemberFailed, Since: ago(time.Minute)}
				}
			},
			"members",
			[]string{"us-1 has failed, says eu-1, eu-2"},
			"us-1", "serf members -status failed",
		},
		"a node whose clock is wrong by years": {
			func(r *doctor.Round) {
				r.Answers = r.Answers[:2]
				r.Silent = []doctor.Silent{{Name: "us-1", Region: "us", Status: api.MemberAlive, Reason: "remote error: tls: expired certificate"}}
			},
			"members",
			[]string{"us-1 is alive by gossip and does not answer: remote error: tls: expired certificate (or a clock is wrong)"},
			"us-1", "serf reachability",
		},
		"a node that is stopped": {
			func(r *doctor.Round) {
				r.Answers = r.Answers[:2]
				r.Silent = []doctor.Silent{{Name: "us-1", Region: "us", Status: api.MemberAlive, Reason: "deadline exceeded"}}
				member(*r, "eu-1", "us-1").Reached, member(*r, "eu-2", "us-1").Reached = false, false
			},
			"members",
			[]string{"us-1 is alive by gossip and does not answer: deadline exceeded"},
			"us-1", "serf reachability",
		},
		"a region out of sight": {
			func(r *doctor.Round) {
				r.Answers = r.Answers[2:]
				for _, name := range []string{"eu-1", "eu-2"} {
					r.Silent = append(r.Silent, doctor.Silent{Name: name, Status: api.MemberFailed, Reason: "not alive"})
					member(*r, "us-1", name).Status = api.MemberFailed
				}
				r.Answers[0].Isolated = true
				r.Node = "us-1"
			},
			"members",
			[]string{"us-1 sees less than half of the mesh", "all 2 nodes of region eu are out of sight", "eu-1 has failed", "eu-2 has failed"},
			"us-1", "serf reachability",
		},
		"a node that some see die": {
			func(r *doctor.Round) { member(*r, "eu-1", "us-1").Status = api.MemberFailed },
			"members",
			[]string{"us-1 is alive for eu-2 and failed for eu-1: most likely a partition", "us-1 has failed, says eu-1"},
			"us-1", "serf reachability",
		},
		"a link cut both ways": {
			func(r *doctor.Round) {
				for _, m := range []*doctor.Member{member(*r, "eu-1", "us-1"), member(*r, "us-1", "eu-1")} {
					m.Reached, m.Heard = false, 100
				}
			},
			"members",
			[]string{"packets of eu-1 and us-1 do not reach each other"},
			"eu-1 us-1", "ping -c 3 10.0.0.9 # on eu-1",
		},
		"a link cut one way": {
			func(r *doctor.Round) {
				for _, m := range []*doctor.Member{member(*r, "eu-1", "us-1"), member(*r, "us-1", "eu-1")} {
					m.Reached = false
				}
				member(*r, "us-1", "eu-1").Heard = 100
			},
			"members",
			[]string{"packets of eu-1 do not reach us-1, those of us-1 reach eu-1: the link works one way"},
			"eu-1 us-1", "ping",
		},
		"a clock that is ahead": {
			func(r *doctor.Round) { r.Answers[1].Clock = now.Add(3 * time.Second) },
			"members",
			[]string{"the clock of eu-2 is 3s ahead of that of eu-1"},
			"eu-2", "chronyc tracking",
		},
		"a clock that is behind": {
			func(r *doctor.Round) { r.Answers[1].Clock = now.Add(-1500 * time.Millisecond) },
			"members",
			[]string{"the clock of eu-2 is 1.5s behind that of eu-1"},
			"eu-2", "chronyc tracking",
		},
		"limits that are near": {
			func(r *doctor.Round) {
				r.Answers[0].Uses = []doctor.Use{
					{What: doctor.CPU, Used: .85, Limit: 1},
					{What: doctor.Memory, Used: 95 << 20, Limit: 100 << 20},
					{What: doctor.Heap, Used: 91, Limit: 100},
					{What: doctor.Descriptors, Used: 1000, Limit: 1024},
					{What: doctor.Connections, Used: 50_000, Limit: 50_000},
					{What: doctor.Requests, Used: 95, Limit: 100},
					{What: doctor.UpstreamPending, Of: "orders", Used: 600, Limit: 1024},
					{What: doctor.UpstreamBusy, Of: "http://10.0.0.1", Used: 512, Limit: 512},
				}
				r.Answers[0].Shedding = true
			},
			"load",
			[]string{
				"eu-1: 85 % of the CPU", "95 % of the memory that its cgroup allows, 100 MiB", "91 % of the memory that Go may use", "1000 of 1024 file descriptors",
				"50000 of 50000 client connections", "95 of 100 requests", "600 requests wait for a connection to orders, of 1024", "all 512 connections to http://10.0.0.1", "eu-1 is overloaded",
			},
			"eu-1", "meshgw top",
		},
		"a timeout": {
			func(r *doctor.Round) {
				r.Answers[0].Errors = []doctor.Failure{
					{Route: "orders", Upstream: "orders", Error: "upstream_timeout", Count: 2, Last: ago(time.Minute), RequestID: "old"},
					{Error: "500", Count: 1, Last: ago(time.Second), RequestID: "other"},
				}
				r.Answers[2].Errors = []doctor.Failure{{Route: "orders", Upstream: "orders", Error: "upstream_timeout", Count: 3, Last: ago(10 * time.Second), RequestID: "new"}}
			},
			"errors",
			[]string{"5 requests: upstream_timeout on route orders to orders, the last 10s ago", "1 request: 500, the last 1s ago"},
			"eu-1 us-1", "meshgw trace new",
		},
		"an expired certificate": {
			func(r *doctor.Round) { r.Answers[2].Certificates[1].Until = ago(time.Hour) },
			"certificates",
			[]string{"the mesh certificate for us-1 has expired, 2026-03-01 11:00:00"},
			"us-1", "meshgw cert node --help",
		},
		"a certificate to expire on all nodes": {
			func(r *doctor.Round) {
				for i := range r.Answers {
					r.Answers[i].Certificates[0].Until = now.AddDate(0, 0, 3)
				}
			},
			"certificates",
			[]string{"the certificate of https for api.example.com expires in 3 days, 2026-03-04"},
			"eu-1 eu-2 us-1", "kill -HUP PID",
		},
		"unlike certificates, CAs and keys": {
			func(r *doctor.Round) {
				r.Answers[1].Certificates[0].Fingerprint, r.Answers[1].Certificates[2].Fingerprint = "22", "other"
				r.Answers[2].Keys = []string{"bbb", "aaa"}
			},
			"certificates",
			[]string{
				"the certificate of https for api.example.com is not the same everywhere: eu-1, us-1 against eu-2",
				"the CAs of the mesh are not the same everywhere: eu-1, us-1 against eu-2", "nodes seal gossip by different keys: eu-1, eu-2 against us-1",
			},
			"eu-2", "kill -HUP PID",
		},
		"a key that one lacks": {
			func(r *doctor.Round) { r.Answers[2].Keys = []string{"aaa"} },
			"certificates",
			[]string{"gossip keys are not the same everywhere: eu-1, eu-2 against us-1"},
			"us-1", "serf keys -list",
		},
		"a key that has sealed much": {
			func(r *doctor.Round) {
				for i := range r.Answers {
					r.Answers[i].Sealed = map[string]uint64{"aaa": 1 << 30, "bbb": 1 << 33}
				}
			},
			"certificates",
			[]string{"the gossip key aaa has sealed 3221225472 packets, 75 % of what is safe"},
			"eu-1 eu-2 us-1", "meshgw keys rotate",
		},
		"certificates of an upstream to expire": {
			func(r *doctor.Round) {
				soon := doctor.Certificate{Names: "orders.internal", From: now.AddDate(0, -1, 0), Until: now.AddDate(0, 0, 3)}
				theirs, ours := soon, soon
				theirs.Use, ours.Use = doctor.OfUpstream+"orders", doctor.ForUpstream+"orders"
				r.Answers[1].Certificates = append(r.Answers[1].Certificates, theirs, ours)
			},
			"certificates",
			[]string{
				"the certificate of upstream orders for orders.internal expires in 3 days, 2026-03-04",
				"the certificate shown to upstream orders for orders.internal expires in 3 days, 2026-03-04",
			},
			"eu-2", "openssl s_client",
		},
		"a jump of traffic": {
			func(r *doctor.Round) { r.Answers[0].Traffic[0].Rate = 800 },
			"traffic",
			[]string{"route orders: 1000.0 requests/s, 3.5 times the usual 285.0"},
			"eu-1 eu-2 us-1", "meshgw top",
		},
		"traffic that is gone": {
			func(r *doctor.Round) {
				for i := range r.Answers {
					r.Answers[i].Traffic[0].Rate = 0
				}
			},
			"traffic",
			[]string{"route orders: 0.0 requests/s, usual are 285.0"},
			"eu-1 eu-2 us-1", "meshgw top",
		},
		"a jump of errors": {
			func(r *doctor.Round) { r.Answers[1].Traffic[0].Errors = .5 },
			"traffic",
			[]string{"route orders: 17 % of the requests fail, usual are 1.0 %"},
			"eu-1 eu-2 us-1", "meshgw top --sort errors",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := well()
			test.harm(&r)
			d := doctor.Judge(r)
			if d.OK {
				t.Fatal("nothing is found")
			}
			for _, c := range d.Checks {
				if c.Name != test.check {
					if !c.OK {
						t.Errorf("%s has findings too: %+v", c.Name, c.Findings)
					}
					continue
				}
				var got []string
				for _, f := range c.Findings {
					got = append(got, f.What)
				}
				if len(got) != len(test.want) || !slices.EqualFunc(got, test.want, strings.Contains) {
					t.Fatalf("got  %q\nwant %q", got, test.want)
				}
				if first := c.Findings[0]; strings.Join(first.Nodes, " ") != test.nodes || !strings.HasPrefix(first.Next, test.next) {
					t.Errorf("nodes %v, next %q", first.Nodes, first.Next)
				}
			}
		})
	}
}

func TestWhatMendsItselfOrIsChanceIsNoFinding(t *testing.T) {
	for name, harm := range map[string]func(*doctor.Round){
		"one version behind for a moment": func(r *doctor.Round) {
			r.Answers[1].Routes = api.RoutesStatus{Version: 11, Digest: "ff"}
			r.Answers[0].Drift.Nodes = []api.DriftNode{{Name: "eu-2", RoutesVersion: 11, RoutesDigest: "ff", VersionsBehind: 1, Reason: "not received yet", Since: now.Add(-time.Second)}}
		},
		"one that nobody has heard of yet": func(r *doctor.Round) { r.Answers[1].Routes = api.RoutesStatus{Version: 11, Digest: "ff"} },
		"drift that is over by now": func(r *doctor.Round) {
			r.Answers[0].Drift.Nodes = []api.DriftNode{{Name: "eu-2", RoutesVersion: 2, RoutesDigest: "ff", VersionsBehind: 10, Reason: "not received yet"}}
		},
		"a slow answer with a clock that is right": func(r *doctor.Round) {
			r.Answers[1].Clock, r.Answers[1].Answered = now.Add(1400*time.Millisecond), now.Add(2*time.Second)
		},
		"a few requests more than none": func(r *doctor.Round) {
			r.Answers[0].Traffic = []doctor.Traffic{{Route: "quiet", Age: time.Minute, Rate: 2, UsualRate: .1}}
		},
		"a past of eight seconds": func(r *doctor.Round) {
			for i := range r.Answers {
				r.Answers[i].Traffic[0].Age, r.Answers[i].Traffic[0].Rate = 8*time.Second, 5000
			}
		},
		"a limit that there is none of": func(r *doctor.Round) { r.Answers[0].Uses = []doctor.Use{{What: doctor.Memory, Used: 1 << 40}} },
		"endpoints with a certificate each": func(r *doctor.Round) {
			for i, hash := range []string{"1", "2", "2"} {
				r.Answers[i].Certificates = append(r.Answers[i].Certificates, doctor.Certificate{
					Use: doctor.OfUpstream + "orders", Names: "orders.internal", Fingerprint: hash, From: now.AddDate(0, -1, 0), Until: now.AddDate(0, 3, 0),
				})
			}
		},
		"a worn key that seals nothing any more": func(r *doctor.Round) {
			r.Answers[0].Sealed = map[string]uint64{"aaa": 12, "bbb": 1 << 40}
		},
		"a certificate of a day": func(r *doctor.Round) {
			c := &r.Answers[0].Certificates[1]
			c.From, c.Until = now.Add(-6*time.Hour), now.Add(18*time.Hour)
		},
	} {
		r := well()
		harm(&r)
		for _, c := range doctor.Judge(r).Checks {
			if !c.OK {
				t.Errorf("%s: %s finds %+v", name, c.Name, c.Findings)
			}
		}
	}
}

func TestAFullNodeIsFoundByWhatItToldBefore(t *testing.T) {
	r := well()
	r.Answers = r.Answers[:2]
	r.Silent = []doctor.Silent{{Name: "us-1", Status: api.MemberAlive, Reason: "reset", Descriptors: 1}}
	load := doctor.Judge(r).Checks[3]
	if load.OK || !strings.Contains(load.Findings[0].What, "us-1: 100 % of its file descriptors") {
		t.Errorf("%+v", load)
	}
}

func TestNotesAreNoFindings(t *testing.T) {
	r := well()
	r.Answers[0].Upstreams[0].Alone, r.Answers[1].Build, r.Answers[2].OpenRPC = "it has one endpoint", "v2", true
	d := doctor.Judge(r)
	if !d.OK || len(d.Checks[1].Notes) != 1 || len(d.Checks[2].Notes) != 2 || len(d.Checks[5].Notes) != 1 {
		t.Errorf("%+v", d.Checks)
	}
}

func TestAFloodOfFindingsIsCut(t *testing.T) {
	r := well()
	for i := range 1000 {
		r.Answers[0].Errors = append(r.Answers[0].Errors, doctor.Failure{Route: fmt.Sprint(i), Error: "500", Count: 1, Last: now, RequestID: "x"})
	}
	found := doctor.Judge(r).Checks[4].Findings
	if len(found) != 21 || found[20].What != "and 980 more" {
		t.Errorf("%d findings, the last %+v", len(found), found[len(found)-1])
	}
}
