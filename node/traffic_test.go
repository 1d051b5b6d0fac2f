package node

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/telemetry"
)

func TestPercentilesOfTheMeshAreOfAllRequests(t *testing.T) {
	fast, slow := telemetry.NewTraffic(), telemetry.NewTraffic()
	for range 98 {
		fast.Series("r").Add(time.Millisecond, false)
	}
	slow.Series("r").Add(time.Second, false)
	slow.Series("r").Add(time.Second, true)
	fast.Advance()
	slow.Advance()
	got := trafficOf([]nodeCounts{{Node: "a", Routes: fast.Routes()}, {Node: "b", Routes: slow.Routes()}}, []api.Unanswered{{Node: "c"}})
	near := func(got, want float64) bool { return math.Abs(got-want) <= 0.02*want }
	r := got.Routes[0]
	if len(got.Routes) != 1 || !near(r.P50, 1) || !near(r.P90, 1) || !near(r.P99, 1000) || r.RPS != 50 || r.Errors != 0.5 {
		t.Errorf("got %+v", got.Routes)
	}
	if len(got.Nodes) != 2 || !near(got.Nodes[1].P50, 1000) || got.Total != r.TrafficRates || len(got.Unanswered) != 1 {
		t.Errorf("got %+v", got)
	}
}

func FuzzTrafficOfPeers(f *testing.F) {
	f.Add([]byte(`{"node":"a","region":"eu","routes":{"r":{"seconds":10,"requests":5,"errors":1,"latency":{"3":5}}}}`))
	f.Add([]byte(`{"routes":{"r":{"seconds":-1e308,"requests":18446744073709551615,"latency":{"-7":1,"99999":18446744073709551615}}}}`))
	f.Add([]byte(`{"routes":{"r":{"seconds":1e-320,"requests":9}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c nodeCounts
		if json.Unmarshal(data, &c) != nil {
			return
		}
		if _, err := json.Marshal(trafficOf([]nodeCounts{c, c}, nil)); err != nil {
			t.Errorf("what a peer says cannot be answered: %v", err)
		}
	})
}
