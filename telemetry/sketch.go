package telemetry

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A Sketch counts durations in buckets so fine that a quantile read from them is
// off by less than 2 %, and in the same buckets everywhere, so that those of
// several nodes add up to those of all (log-linear buckets, as HdrHistogram has
// them). That holds from 4 us to 9 min; what lies beyond counts at the border.
// Buckets are made as they are hit. Add may be called by many at once. The zero
// value is empty.
type Sketch struct {
	octaves [octaves]atomic.Pointer[octave]
}

const (
	unit      = 128 * time.Nanosecond // of the finest buckets
	perOctave = 32                    // buckets; the first octave begins at 0, each further one has buckets twice as wide
	octaves   = 28
)

type octave [perOctave]atomic.Uint32

// bucketOf returns where a duration counts.
func bucketOf(d time.Duration) int {
	n := uint64(max(0, d) / unit)
	if n < perOctave {
		return int(n)
	}
	o := bits.Len64(n) - 5
	if o >= octaves {
		return octaves*perOctave - 1
	}
	return o*perOctave + int(n>>(o-1)) - perOctave
}

// middle returns the duration that stands for those of a bucket.
func middle(bucket int) time.Duration {
	o, i := bucket/perOctave, time.Duration(bucket%perOctave)
	if o == 0 {
		return i*unit + unit/2
	}
	width := unit << (o - 1)
	return (perOctave+i)*width + width/2
}

// Add counts a duration.
func (s *Sketch) Add(d time.Duration) {
	b := bucketOf(d)
	at := &s.octaves[b/perOctave]
	o := at.Load()
	if o == nil {
		at.CompareAndSwap(nil, new(octave))
		o = at.Load()
	}
	o[b%perOctave].Add(1)
}

func (s *Sketch) clear() {
	for i := range s.octaves {
		if o := s.octaves[i].Load(); o != nil {
			for j := range o {
				o[j].Store(0)
			}
		}
	}
}

// addTo adds what s has counted to b.
func (s *Sketch) addTo(b Buckets) {
	for i := range s.octaves {
		if o := s.octaves[i].Load(); o != nil {
			for j := range o {
				if n := o[j].Load(); n > 0 {
					b[i*perOctave+j] += uint64(n)
				}
			}
		}
	}
}

// Buckets is what sketches have counted, by bucket. As JSON it goes from node to
// node.
type Buckets map[int]uint64

// Add adds what others have counted.
func (b Buckets) Add(o Buckets) {
	for bucket, n := range o {
		b[bucket] += n
	}
}

// Quantiles returns the durations that these shares (0..1, ascending) of what was
// counted do not exceed; zeros where nothing was.
func (b Buckets) Quantiles(shares ...float64) []time.Duration {
	var total, below uint64
	for _, n := range b {
		total += n
	}
	out := make([]time.Duration, len(shares))
	next := 0
	for bucket := 0; bucket < octaves*perOctave && next < len(shares); bucket++ {
		below += b[bucket]
		for next < len(shares) && below > 0 && float64(below) >= shares[next]*float64(total) {
			out[next] = middle(bucket)
			next++
		}
	}
	return out
}
