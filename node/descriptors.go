package node

import (
	"errors"
	"os"
	"syscall"
)

// descriptors is how many files and sockets this process has open, and may have;
// zeros where that is not known.
func descriptors() (used, limit int) {
	var most syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &most); err != nil {
		return 0, 0
	}
	limit = int(min(most.Cur, 1<<30))
	if dir, err := os.Stat("/proc/self/fd"); err == nil && dir.Size() > 0 {
		return int(dir.Size()), limit // Linux 6.2 tells at once
	}
	open, err := os.ReadDir("/proc/self/fd")
	switch {
	case errors.Is(err, syscall.EMFILE):
		return limit, limit // there is none left to look with
	case err != nil:
		return 0, 0
	}
	return len(open) - 1, limit
}

// openShare is the share of the descriptors that are in use, 0..1.
func openShare() float64 {
	used, limit := descriptors()
	if limit == 0 {
		return 0
	}
	return min(1, float64(used)/float64(limit))
}
