package replica_test

import (
	"fmt"
	"testing"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable/replica"
)

func BenchmarkMergeIntoTenThousandRoutes(b *testing.B) {
	s, other := replica.NewStore("a"), replica.NewStore("b")
	apply(b, s, replica.Edit{Spec: tabletest.Big(10_000)})
	pull(b, other, s)
	for b.Loop() {
		b.StopTimer()
		apply(b, s, replica.Edit{Spec: body("x", fmt.Sprint(s.Table().Version()))})
		b.StartTimer()
		pull(b, other, s)
	}
}

func BenchmarkPullTenThousandRoutes(b *testing.B) {
	s := replica.NewStore("a")
	apply(b, s, replica.Edit{Spec: tabletest.Big(10_000)})
	data, err := s.Delta(replica.NewStore("b").Digest())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := replica.NewStore("b").Merge(data); err != nil {
			b.Fatal(err)
		}
	}
}
