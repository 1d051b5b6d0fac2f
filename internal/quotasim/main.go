package main

import (
	"flag"
	"fmt"
	"strings"
)

func main() {
	each := flag.Bool("scenarios", false, "print every scenario by itself")
	compare := flag.Bool("compare", false, "print what the algorithms of other gateways do in the same scenarios")
	only := flag.String("only", "", "only what has this in its name")
	seeds := flag.Int("seeds", 10, "runs of each; the worst is shown")
	first := flag.Uint64("first", 101, "the first seed")
	flag.Parse()
	switch {
	case *each:
		printScenarios(*only, *first, *seeds)
	case *compare:
		printCompared(*first, *seeds)
	default:
		printRows(*only, *first, *seeds)
	}
}

func printScenarios(only string, first uint64, seeds int) {
	fmt.Println("| scenario | over short % | over long % | total % | under % | Jain | conv s | B/s | busiest B/s |")
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, sc := range scenarios() {
		if !strings.Contains(sc.name, only) {
			continue
		}
		r := worstOf(sc, first, seeds, func() limiter { return &mesh{} })
		fmt.Printf("| %s | %.1f | %.1f | %+.1f..%+.1f | %.1f | %.3f | %.2f | %.0f | %.0f |\n",
			sc.name, r.overShort, r.overLong, r.totalLow, r.totalHigh, r.under, r.jain, r.converged, r.bytes, r.bytesMost)
	}
}

// worstOf is the worst of several seeds.
func worstOf(sc scenario, first uint64, seeds int, a func() limiter) (r result) {
	for i := range seeds {
		sc.seed = first + uint64(i)
		if one := run(sc, a()); i == 0 {
			r = one
		} else {
			r = r.worst(one)
		}
	}
	return r
}
