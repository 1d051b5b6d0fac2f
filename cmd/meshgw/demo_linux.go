package main

import "syscall"

// childAttr lets no child outlive us, however we end, and keeps Ctrl-C for us:
// children are told to stop in order.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
