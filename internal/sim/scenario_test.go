package sim

import (
	"math/rand/v2"
	"time"
)

// scenario is what one seed stands for.
type scenario struct {
	seed  uint64
	nodes int
	steps []step
}

// step is one thing that is done to the mesh. It has its own generator, so that
// what one step draws changes nothing of another.
type step struct {
	after time.Duration // since the step before
	do    func(*world, *rand.Rand)
	rng   *rand.Rand
}

func draw(seed uint64) scenario {
	r := rand.New(rand.NewPCG(seed, 0))
	s := scenario{seed: seed, nodes: 3 + r.IntN(5)}
	if r.IntN(12) == 0 {
		s.nodes = 8 + r.IntN(13)
	}
	all := deeds()
	total := 0
	for _, d := range all {
		total += d.weight
	}
	for i := range 10 + r.Uint64N(25) {
		n := r.IntN(total)
		at := 0
		for n >= all[at].weight {
			n -= all[at].weight
			at++
		}
		s.steps = append(s.steps, step{after: pause(r), do: all[at].do, rng: rand.New(rand.NewPCG(seed, i+1))})
	}
	return s
}

// pause is short as often as long, so that steps meet in the middle of what
// earlier ones caused.
func pause(r *rand.Rand) time.Duration {
	scale := []time.Duration{time.Millisecond, 20 * time.Millisecond, 500 * time.Millisecond, 4 * time.Second, 12 * time.Second}
	return time.Duration(r.Int64N(int64(scale[r.IntN(len(scale))])))
}

type deed struct {
	weight int
	do     func(*world, *rand.Rand)
}

func deeds() []deed {
	return []deed{
		{10, (*world).edit},
		{4, (*world).remove},
		{3, (*world).rollBack},
		{4, (*world).burst},
		{3, (*world).weather},
		{3, (*world).cut},
		{3, (*world).split},
		{4, (*world).heal},
		{2, (*world).editAndDie},
		{4, (*world).die},
		{2, (*world).leave},
		{7, (*world).revive},
		{2, (*world).slow},
		{2, (*world).jump},
		{2, (*world).loseDisk},
		{2, (*world).mendDisk},
	}
}
