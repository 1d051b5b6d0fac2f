//go:build unix && !linux

package main

import "syscall"

// childAttr keeps Ctrl-C for us: children are told to stop in order.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
