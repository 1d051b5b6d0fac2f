package node

import (
	"io/fs"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// allowance returns how many CPUs this process may use: its cgroup's quota, fractions
// included, or those it may run on, whichever is less. GOMAXPROCS alone would
// round a quota up, and never below two. root is the file system, "/".
func allowance(root fs.FS) float64 {
	cpus := float64(runtime.GOMAXPROCS(0))
	for controllers, group := range cgroups(root) {
		if quota, ok := quotaOf(root, controllers, group); ok {
			cpus = min(cpus, quota)
		}
	}
	return cpus
}

// cgroups yields the cgroups that this process is in, each with its controllers,
// of version 1, or none, of version 2; parents too, for they bound it as well.
func cgroups(root fs.FS) func(yield func(controllers, group string) bool) {
	return func(yield func(controllers, group string) bool) {
		groups, err := fs.ReadFile(root, "proc/self/cgroup")
		if err != nil {
			return
		}
		for line := range strings.Lines(string(groups)) {
			parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(parts) != 3 {
				continue
			}
			for group := parts[2]; ; group = path.Dir(group) {
				if !yield(parts[1], group) {
					return
				}
				if group == "/" || group == "." {
					break
				}
			}
		}
	}
}

// quotaOf reads the quota of one cgroup, in CPUs: of version 2, whose list of
// controllers is empty, or of version 1.
func quotaOf(root fs.FS, controllers, group string) (cpus float64, ok bool) {
	var quota, period string
	switch {
	case controllers == "":
		fields := strings.Fields(readText(root, path.Join("sys/fs/cgroup", group, "cpu.max")))
		if len(fields) != 2 {
			return 0, false
		}
		quota, period = fields[0], fields[1]
	case hasController(controllers, "cpu"):
		dir := path.Join("sys/fs/cgroup/cpu", group)
		quota, period = readText(root, path.Join(dir, "cpu.cfs_quota_us")), readText(root, path.Join(dir, "cpu.cfs_period_us"))
	default:
		return 0, false
	}
	most, err := strconv.ParseUint(quota, 10, 64) // "max" and -1 are no bound
	each, eachErr := strconv.ParseUint(period, 10, 64)
	if err != nil || eachErr != nil || most == 0 || each == 0 {
		return 0, false
	}
	return float64(most) / float64(each), true
}

func hasController(list, name string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == name {
			return true
		}
	}
	return false
}

// readText returns a file's only line; empty where there is none.
func readText(root fs.FS, name string) string {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
