package failover

import "math"

// maxTurns bounds the turns of RoundRobin: weights that would need more are
// rounded.
const maxTurns = 4096

// interleave returns the candidates in turns: each as often as its weight says,
// as evenly spread as can be, by earliest deadline first.
func interleave(candidates []candidate) []int32 {
	weights, total := reduced(candidates)
	queue := make(deadlines, len(weights))
	for i, w := range weights {
		queue[i] = deadline{at: 0.5 / float64(w), step: 1 / float64(w), candidate: int32(i)}
	}
	for i := len(queue)/2 - 1; i >= 0; i-- {
		queue.sink(i)
	}
	turns := make([]int32, total)
	for i := range turns {
		turns[i] = queue[0].candidate
		queue[0].at += queue[0].step
		queue.sink(0)
	}
	return turns
}

// reduced returns the weights in lowest terms, their sum bounded by maxTurns,
// or by one for each candidate where there are more of them.
func reduced(candidates []candidate) (weights []int, total int) {
	divisor, sum := 0, 0
	for _, c := range candidates {
		divisor, sum = gcd(divisor, int(c.weight)), sum+int(c.weight)
	}
	for _, c := range candidates {
		w := int(c.weight) / divisor
		if sum/divisor > maxTurns {
			w = max(1, int(math.Round(c.weight*maxTurns/float64(sum))))
		}
		weights, total = append(weights, w), total+w
	}
	return weights, total
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

type deadline struct {
	at, step  float64
	candidate int32
}

func (d deadline) before(o deadline) bool {
	return d.at < o.at || d.at == o.at && d.candidate < o.candidate
}

// deadlines is a binary heap, the earliest on top.
type deadlines []deadline

// sink moves the i-th deadline down to where none below it is earlier.
func (d deadlines) sink(i int) {
	for {
		child := 2*i + 1
		if child >= len(d) {
			return
		}
		if child+1 < len(d) && d[child+1].before(d[child]) {
			child++
		}
		if !d[child].before(d[i]) {
			return
		}
		d[i], d[child] = d[child], d[i]
		i = child
	}
}
