package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

// knows reports an error unless the node has another's word, by its region.
func knows(p *process, name, region string) error {
	s, err := p.status()
	if err != nil {
		return err
	}
	for _, m := range s.Members {
		if m.Name == name && m.Region == region && m.Weight == 100 {
			return nil
		}
	}
	return fmt.Errorf("%s knows %+v", p.name, s.Members)
}

// logged reports an error unless the process has logged one of the texts. A log
// is written a moment after what it tells of: wait for it with eventually.
func logged(p *process, texts ...string) error {
	log := p.log.String()
	for _, text := range texts {
		if strings.Contains(log, text) {
			return nil
		}
	}
	return fmt.Errorf("%s has not logged %q", p.name, texts)
}

// freePort is an address that was free a moment ago, and stays so: see ownAddress.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", ownAddress())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kib >> 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
