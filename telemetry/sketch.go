package telemetry

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A Sketch is a histogram of durations with log-linear buckets (as in
// HdrHistogram): quantiles are off by less than 2 % from 4 us to 9 min, and
// durations beyond count at the border. All sketches have the same buckets, so
// that those of several nodes can be added. Buckets are allocated when first
// hit. Add is safe for concurrent use. The zero value is empty.
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

// Buckets are the counts of sketches by bucket, as sent between nodes in JSON.
type Buckets map[int]uint64

// Add adds the counts of o.
func (b Buckets) Add(o Buckets) {
	for bucket, n := range o {
		b[bucket] += n
	}
}

// Quantiles returns the quantiles at shares, in [0,1] and ascending; zeros if
// nothing was counted.
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
