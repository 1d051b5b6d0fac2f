package node

import (
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func TestMemoryIsThatOfTheTightestCgroup(t *testing.T) {
	for name, test := range map[string]struct {
		files       map[string]string
		used, limit float64
	}{
		"no cgroup": {nil, 0, 0},
		"version 2": {map[string]string{
			"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/memory.max": "1000\n", "sys/fs/cgroup/app/memory.current": "900\n",
			"sys/fs/cgroup/app/memory.stat": "anon 5\ninactive_file 300\nactive_file 7\n",
		}, 600, 1000},
		"version 2, by a parent": {map[string]string{
			"proc/self/cgroup": "0::/pod/app\n", "sys/fs/cgroup/pod/app/memory.max": "max\n", "sys/fs/cgroup/pod/app/memory.current": "1\n",
			"sys/fs/cgroup/pod/memory.max": "2000\n", "sys/fs/cgroup/pod/memory.current": "500\n",
		}, 500, 2000},
		"version 1": {map[string]string{
			"proc/self/cgroup": "4:memory:/app\n3:cpu:/app\n", "sys/fs/cgroup/memory/app/memory.limit_in_bytes": "4096\n",
			"sys/fs/cgroup/memory/app/memory.usage_in_bytes": "4000\n", "sys/fs/cgroup/memory/app/memory.stat": "total_inactive_file 1000\n",
		}, 3000, 4096},
		"version 1 without bound": {map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
		}, 0, 0},
		"nonsense": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "a", "sys/fs/cgroup/memory.current": "b"}, 0, 0},
	} {
		root := fstest.MapFS{}
		for path, text := range test.files {
			root[path] = &fstest.MapFile{Data: []byte(text)}
		}
		if used, limit := cgroupMemory(root); used != test.used || limit != test.limit {
			t.Errorf("%s: %v of %v, want %v of %v", name, used, limit, test.used, test.limit)
		}
		if got, want := memoryBound(root), int64(test.limit*9/10); got > want || got < want-9 {
			t.Errorf("%s: bound %d, want %d", name, got, want)
		}
	}
}

func TestHeapMemoryIsKnownUnderALimit(t *testing.T) {
	before := debug.SetMemoryLimit(1 << 40)
	defer debug.SetMemoryLimit(before)
	if used, limit := heapMemory(); limit != 1<<40 || used < 1<<16 || used > limit {
		t.Errorf("%v of %v", used, limit)
	}
}
