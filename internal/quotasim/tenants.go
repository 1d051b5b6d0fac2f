package main

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/meshgw/meshgw/quota"
)

// tenants is a mesh whose requests are of many tenants, with Zipf's popularity.
type tenants struct {
	mesh
	asksOf []quota.Ask
	upTo   []float64 // cumulative popularity
	pick   *rand.Rand
}

func (m *tenants) start(s *sim) {
	m.mesh.start(s)
	const count = 10_000
	m.pick = rand.New(rand.NewPCG(s.seed, 0x21f))
	sum := 0.0
	var secret quota.Secret
	for i := range count {
		sum += 1 / float64(i+1)
		m.upTo = append(m.upTo, sum)
		key := secret.Key(m.asks[0].Limit, binary.BigEndian.AppendUint32(nil, uint32(i)))
		m.asksOf = append(m.asksOf, quota.Ask{Limit: m.asks[0].Limit, Key: key})
	}
}

func (m *tenants) take(i int) bool {
	n := len(m.upTo)
	which := sort.SearchFloat64s(m.upTo, m.pick.Float64()*m.upTo[n-1])
	m.asks[0] = m.asksOf[min(which, n-1)]
	return m.mesh.take(i)
}

// tenantsTraffic is the bytes per second and node of ten thousand tenants.
func tenantsTraffic(seed uint64) float64 {
	r := run(scenario{
		name: "tenants", nodes: 50, limit: limit{100, 100}, lasts: 6 * time.Second,
		demand: equal(20_000, 50), seed: seed, budget: math.MaxInt32,
	}, &tenants{})
	return r.bytes
}
