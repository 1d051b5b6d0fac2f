package socket

import (
	"errors"
	"math"
	"syscall"
)

// DescriptorLimit returns how many file descriptors this process may have open
// (RLIMIT_NOFILE); a very high number if that cannot be found out.
func DescriptorLimit() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxInt32
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// DescriptorsScarce reports whether fewer than spare of limit descriptors are
// free. The kernel always hands out the lowest free number, so all below it are
// in use.
func DescriptorsScarce(limit, spare int) bool {
	lowest, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return OutOfDescriptors(err)
	}
	_ = syscall.Close(lowest) // was opened for its number alone
	return lowest >= limit-spare
}

// OutOfDescriptors reports whether err says that the process or the system has no
// descriptor left.
func OutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
