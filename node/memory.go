package node

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
)

// cgroupMemory is how many bytes the tightest cgroup of this process uses and may
// use; zeros where none is bounded. What could be dropped at once, the pages of
// files that nobody used lately, does not count. root is the file system, "/".
func cgroupMemory(root fs.FS) (used, limit float64) {
	for controllers, group := range cgroups(root) {
		var dir, usage, bound, idle string
		switch {
		case controllers == "":
			dir, usage, bound, idle = path.Join("sys/fs/cgroup", group), "memory.current", "memory.max", "inactive_file"
		case hasController(controllers, "memory"):
			dir, usage, bound, idle = path.Join("sys/fs/cgroup/memory", group), "memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"
		default:
			continue
		}
		most, err := strconv.ParseFloat(readText(root, path.Join(dir, bound)), 64) // "max" is no bound
		if err != nil || most <= 0 || most >= 1<<62 || limit > 0 && most >= limit {
			continue
		}
		now, err := strconv.ParseFloat(readText(root, path.Join(dir, usage)), 64)
		if err != nil {
			continue
		}
		used, limit = max(0, now-statOf(readText(root, path.Join(dir, "memory.stat")), idle)), most
	}
	return used, limit
}

func statOf(text, name string) float64 {
	for line := range strings.Lines(text) {
		if field, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && field == name {
			n, _ := strconv.ParseFloat(value, 64) // 0 where it is no number
			return n
		}
	}
	return 0
}

// BoundMemory has the garbage collector work harder rather than let this process
// outgrow its cgroup, by which it would be killed: it keeps within nine tenths of what
// that allows. The rest is for what Go does not count, buffers of sockets among it.
// GOMEMLIMIT, where it is set, holds instead.
func BoundMemory() {
	if bound := memoryBound(os.DirFS("/")); bound > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bound)
	}
}

func memoryBound(root fs.FS) int64 {
	_, limit := cgroupMemory(root)
	return int64(limit / 10 * 9)
}

// heapMemory is how many bytes Go counts as its own, and how many it may; zeros where
// there is no limit.
func heapMemory() (used, limit float64) {
	most := debug.SetMemoryLimit(-1)
	if most == math.MaxInt64 {
		return 0, 0
	}
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return float64(samples[0].Value.Uint64() - samples[1].Value.Uint64()), float64(most)
}
