package node

import (
	"runtime"
	"testing"
	"testing/fstest"
)

func TestAllowanceIsTheTightestQuota(t *testing.T) {
	all := float64(runtime.GOMAXPROCS(0))
	for name, test := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"no cgroup": {nil, all},
		"version 2": {map[string]string{
			"proc/self/cgroup": "0::/pod/app\n", "sys/fs/cgroup/pod/app/cpu.max": "25000 100000\n",
		}, 0.25},
		"version 2, by a parent": {map[string]string{
			"proc/self/cgroup": "0::/pod/app\n", "sys/fs/cgroup/pod/app/cpu.max": "max 100000\n", "sys/fs/cgroup/pod/cpu.max": "50000 100000\n",
		}, 0.5},
		"version 2, seen from within": {map[string]string{
			"proc/self/cgroup": "0::/../../other\n", "sys/fs/cgroup/cpu.max": "50000 100000\n",
		}, 0.5},
		"version 1": {map[string]string{
			"proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/app\n", "sys/fs/cgroup/cpu/app/cpu.cfs_quota_us": "10000\n", "sys/fs/cgroup/cpu/app/cpu.cfs_period_us": "100000\n",
		}, 0.1},
		"version 1 without bound": {map[string]string{
			"proc/self/cgroup": "3:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		}, all},
		"more than there are": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "999900000 100000\n",
		}, all},
		"nonsense": {map[string]string{"proc/self/cgroup": "0\n0::/\n::::", "sys/fs/cgroup/cpu.max": "a b c"}, all},
	} {
		root := fstest.MapFS{}
		for path, text := range test.files {
			root[path] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := allowance(root); got != test.want {
			t.Errorf("%s: %v CPUs, want %v", name, got, test.want)
		}
	}
}

func FuzzAllowance(f *testing.F) {
	f.Add("0::/pod/app\n", "25000 100000\n", "-1\n")
	f.Add("4:memory:/m\n3:cpu,cpuacct:/\n", "max 100000", "10000")
	f.Add("0::../..//\n:::\n", "1e999 NaN", "0x10")
	f.Fuzz(func(t *testing.T, groups, most, quota string) {
		files := fstest.MapFS{}
		for name, text := range map[string]string{
			"proc/self/cgroup": groups, "sys/fs/cgroup/cpu.max": most, "sys/fs/cgroup/pod/app/cpu.max": most,
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota, "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
		} {
			files[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := allowance(files); !(got > 0 && got <= float64(runtime.GOMAXPROCS(0))) {
			t.Errorf("an allowance of %v CPUs", got)
		}
	})
}
