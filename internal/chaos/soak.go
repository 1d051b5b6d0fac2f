package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// soak is a scenario without an end: rounds of faults drawn from a seed, each
// followed by what must hold once they are over.
func soak(length time.Duration, seed uint64) *script {
	nodes, endpoints := "a b c d e f", "one two three"
	s := &script{
		name: "soak", about: fmt.Sprintf("%v of random faults under load, seed %d.", length, seed),
		files: map[string]string{"routes.yaml": `
upstreams:
  - name: orders
    health_check: {path: /healthz, interval: 1s, timeout: 500ms}
    endpoints: [{url: "http://$one:8080"}, {url: "http://$two:8080"}, {url: "http://$three:8080"}]
routes:
  - {name: orders, upstream: orders}
`},
	}
	s.add("node "+nodes+" --profile local", "endpoint "+endpoints, "apply a routes.yaml --wait all",
		"within 15s whole "+nodes, "load clients to="+strings.ReplaceAll(nodes, " ", ",")+" rate=100", "sleep 5s", "count clients")
	r := rand.New(rand.NewPCG(seed, 0))
	ended := time.Duration(0)
	for round := 1; ended < length; round++ {
		faults, mend, lasts := draw(r, strings.Fields(nodes), strings.Fields(endpoints))
		s.add(fmt.Sprintf("# round %d", round))
		s.add(faults...)
		s.add(fmt.Sprintf("sleep %v", lasts), "count clients")
		s.add(mend...)
		at := strings.Fields(nodes)[r.IntN(6)]
		s.add("within 25s whole "+nodes, "within 10s equal "+nodes, fmt.Sprintf("edits 3 at=%s to=%s p99=3s", at, strings.ReplaceAll(nodes, " ", ",")),
			"within 90s usable "+endpoints+" at "+nodes, "count clients", "sleep 3s", "require load clients failed <= 0")
		for node := range strings.FieldsSeq(nodes) {
			s.add("require metric "+node+" go_goroutines <= 2000", "require metric "+node+" process_open_fds <= 1000",
				"require metric "+node+" process_resident_memory_bytes <= 500000000")
		}
		ended += lasts + 16*time.Second // as a round takes, about
	}
	s.add("end clients", "require serves / 200 "+nodes)
	return s
}

func (s *script) add(lines ...string) {
	for _, text := range lines {
		st := step{number: len(s.steps) + 1, text: text}
		if !strings.HasPrefix(text, "#") {
			st.words = strings.Fields(text)
		}
		s.steps = append(s.steps, st)
	}
}

// draw picks up to three faults that can go together, what ends them, and how
// long they last.
func draw(r *rand.Rand, nodes, endpoints []string) (faults, mend []string, lasts time.Duration) {
	r.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	r.Shuffle(len(endpoints), func(i, j int) { endpoints[i], endpoints[j] = endpoints[j], endpoints[i] })
	all := [][2]string{
		{"kill " + nodes[0], "start " + nodes[0]},
		{"kill " + strings.Join(nodes[:3], " "), "start " + strings.Join(nodes[:3], " ")},
		{"stop " + nodes[0], "start " + nodes[0]},
		{"freeze " + nodes[1], "thaw"},
		{"freeze " + endpoints[0], "thaw"},
		{"kill " + endpoints[1], "start " + endpoints[1]},
		{fmt.Sprintf("cut %s -> %s", nodes[2], nodes[3]), "heal"},
		{fmt.Sprintf("cut %s -> %s", nodes[4], endpoints[0]), "heal"},
		{fmt.Sprintf("cut %s <-> %s", strings.Join(nodes[:2], ","), strings.Join(nodes[2:], ",")), "heal"},
		{fmt.Sprintf("lose %d%% %s", 5+r.IntN(25), strings.Join(nodes, " ")), "heal"},
		{fmt.Sprintf("delay %s by=%dms", strings.Join(nodes[:2], " "), 10+r.IntN(90)), "heal"},
		{fmt.Sprintf("clock %s %dm", nodes[5], r.IntN(10000)-5000), ""},
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	touched := map[string]bool{}
	for _, f := range all[:1+r.IntN(3)] {
		verb := strings.Fields(f[0])[0]
		if verb == "stop" {
			verb = "kill"
		}
		if touched[verb] || verb == "kill" && touched["freeze"] || verb == "freeze" && touched["kill"] {
			continue
		}
		touched[verb] = true
		faults = append(faults, f[0])
		if f[1] != "" {
			mend = append([]string{f[1]}, mend...)
		}
	}
	return faults, mend, time.Duration(2+r.IntN(18)) * time.Second
}
