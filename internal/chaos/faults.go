package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cut stops what some machines send to others, one way or both.
func (w *world) cut(words []string) error {
	if len(words) != 3 || words[1] != "->" && words[1] != "<->" {
		return errors.New("want NAMES -> NAMES or NAMES <-> NAMES")
	}
	from, err := w.find(strings.Split(words[0], ",")...)
	to, bad := w.find(strings.Split(words[2], ",")...)
	if err := errors.Join(err, bad); err != nil {
		return err
	}
	for _, a := range from {
		for _, b := range to {
			w.lan.cuts[[2]string{a.ip, b.ip}] = true
			if words[1] == "<->" {
				w.lan.cuts[[2]string{b.ip, a.ip}] = true
			}
		}
	}
	return w.lan.applyAll()
}

func (w *world) lose(words []string) error {
	a := parseArgs(words)
	if len(a.names) < 2 {
		return errors.New("want a percentage and names")
	}
	percent, err := strconv.Atoi(strings.TrimSuffix(a.names[0], "%"))
	if err != nil {
		return err
	}
	w.lan.lossUDP = a.options["of"] == "udp"
	err = w.each(a.names[1:], func(m *machine) error {
		w.lan.loss[m.ip] = percent
		return nil
	})
	return errors.Join(err, w.lan.applyAll())
}

func (w *world) delay(words []string) error {
	a := parseArgs(words)
	by, err := time.ParseDuration(a.options["by"])
	if err != nil {
		return err
	}
	return w.each(a.names, func(m *machine) error {
		if old := w.relays[m.name]; old != nil {
			old.close()
		}
		w.relays[m.name], err = startRelay(m, by)
		return err
	})
}

func (w *world) heal([]string) error {
	clear(w.lan.cuts)
	clear(w.lan.loss)
	for name, r := range w.relays {
		r.close()
		delete(w.relays, name)
	}
	return w.lan.applyAll()
}

// filler is the file that takes what is left of a node's disk.
func (w *world) filler(m *machine) string { return filepath.Join(w.path(m.name), "filler") }

func (w *world) fill(words []string) error {
	return w.each(words, func(m *machine) error {
		var of unix.Statfs_t
		if err := unix.Statfs(w.path(m.name), &of); err != nil {
			return err
		}
		if of.Type != unix.TMPFS_MAGIC || of.Blocks*uint64(of.Bsize) > 64<<20 {
			return fmt.Errorf("the disk of %s has no size of its own", m.name)
		}
		f, err := os.Create(w.filler(m))
		for err == nil {
			_, err = f.Write(make([]byte, 512))
		}
		if errors.Is(err, unix.ENOSPC) {
			err = nil
		}
		return errors.Join(err, f.Close())
	})
}

func (w *world) empty(words []string) error {
	return w.each(words, func(m *machine) error { return os.Remove(w.filler(m)) })
}

// fds bounds the file descriptors of a running process, as ulimit does.
func (w *world) fds(words []string) error {
	n, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil {
		return err
	}
	return w.each(words[:1], func(m *machine) error {
		var was unix.Rlimit
		if err := unix.Prlimit(m.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
			return err
		}
		return unix.Prlimit(m.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: was.Max}, nil)
	})
}
