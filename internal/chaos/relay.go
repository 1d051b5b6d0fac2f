package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// relay holds back what one machine sends: its packets are routed into a TUN
// device, wait in this process, and leave by the machine's real device.
type relay struct {
	machine *machine
	tun     *os.File
	out     int // raw socket in the machine's namespace
}

// startRelay delays all that m sends.
func startRelay(m *machine, by time.Duration) (*relay, error) {
	r := &relay{machine: m, out: -1}
	if err := inNamespace(m.space, r.open); err != nil {
		return nil, fmt.Errorf("delay %s: %w", m.name, err)
	}
	if err := ip("-n "+m.space+" link set delay0 up", "-n "+m.space+" route replace default dev delay0 src "+m.ip+" table 77",
		"-n "+m.space+" rule add oif lan0 lookup main priority 10", "-n "+m.space+" rule add lookup 77 priority 20"); err != nil {
		r.close()
		return nil, err
	}
	go r.run(by)
	return r, nil
}

// inNamespace has f run within a network namespace. The thread comes back from
// there: were it left to end, the processes that it has started would die with it.
func inNamespace(space string, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer func() { _ = home.Close() }()
	there, err := os.Open("/run/netns/" + space)
	if err != nil {
		return err
	}
	defer func() { _ = there.Close() }()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	return errors.Join(f(), unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
}

func (r *relay) open() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	req, err := unix.NewIfreq("delay0")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that closing ends a read
		return errors.Join(err, unix.Close(fd))
	}
	r.tun = os.NewFile(uintptr(fd), "delay0")
	if r.out, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
		return err
	}
	return unix.BindToDevice(r.out, "lan0")
}

// run passes packets on, each after its time, in order.
func (r *relay) run(by time.Duration) {
	type held struct {
		packet []byte
		due    time.Time
	}
	queue := make(chan held, 16384)
	defer close(queue)
	go func() {
		for h := range queue {
			time.Sleep(time.Until(h.due))
			to := &unix.SockaddrInet4{Addr: [4]byte(h.packet[16:20])}
			_ = unix.Sendto(r.out, h.packet, 0, to) // what cannot be sent is lost, as on any wire
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := r.tun.Read(buf)
		if err != nil {
			return
		}
		if n >= 20 && buf[0]>>4 == 4 {
			select {
			case queue <- held{append([]byte(nil), buf[:n]...), time.Now().Add(by)}:
			default:
			}
		}
	}
}

func (r *relay) close() {
	_ = ip("-n "+r.machine.space+" rule del priority 20", "-n "+r.machine.space+" rule del priority 10")
	if r.tun != nil {
		_ = r.tun.Close()
	}
	if r.out >= 0 {
		_ = unix.Close(r.out)
	}
}
