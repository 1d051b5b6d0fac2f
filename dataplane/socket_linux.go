package dataplane

import (
	"io"
	"syscall"
	"unsafe"
)

// The Go runtime is not told of the calls below, which never wait. Told of one
// after a pause, it wakes its monitor (sysmon), which then looks every 20 µs
// whether the call still lasts: at 3,000 requests/s that was two fifths of the
// CPU. And with one processor it takes the processor from every call that lasts
// longer than two looks, as a write that delivers on loopback does.

// readNow reads what has come to a socket; EAGAIN if nothing has.
func readNow(fd int, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch {
		case errno == syscall.EINTR:
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil //nolint:gosec // at most len(p)
		}
	}
}

// writeNow writes as much of parts as a socket takes; EAGAIN if it takes nothing.
func writeNow(fd int, parts *[3][]byte) (int, error) {
	var vector [len(parts)]syscall.Iovec
	used := 0
	for _, p := range parts {
		if len(p) > 0 {
			vector[used].Base = unsafe.SliceData(p)
			vector[used].SetLen(len(p))
			used++
		}
	}
	for {
		var n uintptr
		var errno syscall.Errno
		if used == 1 { // which costs the kernel less
			n, _, errno = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(vector[0].Base)), uintptr(vector[0].Len))
		} else {
			n, _, errno = syscall.RawSyscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vector)), uintptr(used))
		}
		switch errno {
		case 0:
			return int(n), nil //nolint:gosec // at most what parts hold
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// isQuiet reports whether a socket is open and has nothing to read.
func isQuiet(fd int) bool {
	var b [1]byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b)), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return errno == syscall.EAGAIN
}
