package node

import (
	"math"
	"os"
	"syscall"
	"time"

	"github.com/meshgw/meshgw/roster"
)

// meter measures this process's load between two looks.
type meter struct {
	at       time.Time
	cpu      time.Duration
	cpus     float64   // that may be used
	counted  time.Time // when cpus was read
	requests uint64
	used     float64   // of the CPU since the last look, not smoothed
	looked   time.Time // when open files were counted
	load     roster.Load
}

// smoothing is the time constant of the averages.
const smoothing = time.Second

// recount is how often the number of CPUs is read again: quotas change.
const recount = 10 * time.Second

// measure takes the counts of now and returns the smoothed load since the last.
func (m *meter) measure(now time.Time, cpu time.Duration, requests uint64, inflight int) roster.Load {
	m.load.Inflight = inflight
	if passed := now.Sub(m.at); !m.at.IsZero() && passed > 0 {
		weight := 1 - math.Exp(-passed.Seconds()/smoothing.Seconds())
		if now.Sub(m.counted) >= recount {
			m.cpus, m.counted = allowance(os.DirFS("/")), now
		}
		m.used = (cpu - m.cpu).Seconds() / passed.Seconds() / m.cpus
		m.load.CPU += weight * (m.used - m.load.CPU)
		m.load.RequestsPerSecond += weight * (float64(requests-m.requests)/passed.Seconds() - m.load.RequestsPerSecond)
	}
	if now.Sub(m.looked) >= time.Second {
		m.load.Descriptors, m.looked = openShare(), now
	}
	m.at, m.cpu, m.requests = now, cpu, requests
	return m.load
}

// cpuTime is what this process has used so far, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// worthTelling reports whether a load differs enough from what was last reported to
// report it again: an idle mesh should send little.
func worthTelling(told, now roster.Load) bool {
	differs := func(a, b, slack float64) bool { return math.Abs(a-b) > slack+0.25*max(a, b) }
	return math.Abs(told.CPU-now.CPU) > 0.05 || math.Abs(told.Descriptors-now.Descriptors) > 0.05 ||
		differs(float64(told.Inflight), float64(now.Inflight), 8) ||
		differs(told.RequestsPerSecond, now.RequestsPerSecond, 5)
}
