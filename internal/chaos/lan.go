package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// lan is one bridge with a network namespace for each host, and what is wrong
// between them.
type lan struct {
	id      int
	bridge  string
	prefix  string // of addresses: a.b.c.
	spaces  []string
	links   []string           // their ends at the bridge
	cuts    map[[2]string]bool // from one address to another
	loss    map[string]int     // percent of what arrives at an address
	lossUDP bool               // of UDP alone
	host    map[string]string  // namespace by address
}

// sh runs a command of the system and returns what it has to complain of.
func sh(stdin, name string, words ...string) error {
	cmd := exec.Command(name, words...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ip runs the commands of iproute2, in order.
func ip(commands ...string) error {
	for _, c := range commands {
		if err := sh("", "ip", strings.Fields(c)...); err != nil {
			return err
		}
	}
	return nil
}

// newLAN makes the bridge. This process is on it too, at .254.
func newLAN() (*lan, error) {
	id := os.Getpid()
	l := &lan{
		id: id, bridge: fmt.Sprintf("mgc%d", id), prefix: fmt.Sprintf("10.%d.%d.", 100+id/250%100, id%250),
		cuts: map[[2]string]bool{}, loss: map[string]int{}, host: map[string]string{},
	}
	return l, ip("link add "+l.bridge+" type bridge", "addr add "+l.prefix+"254/24 dev "+l.bridge, "link set "+l.bridge+" up")
}

// add makes a host and returns its namespace and address.
func (l *lan) add() (space, addr string, err error) {
	n := len(l.spaces) + 1
	space, addr = fmt.Sprintf("mgc%d-%d", l.id, n), fmt.Sprintf("%s%d", l.prefix, n)
	outer, inner := fmt.Sprintf("mgo%d-%d", l.id, n), fmt.Sprintf("mgi%d-%d", l.id, n)
	l.spaces, l.links = append(l.spaces, space), append(l.links, outer)
	l.host[addr] = space
	return space, addr, ip("netns add "+space,
		"link add "+outer+" type veth peer name "+inner,
		"link set "+outer+" master "+l.bridge+" up",
		"link set "+inner+" netns "+space,
		"-n "+space+" link set "+inner+" name lan0",
		"-n "+space+" addr add "+addr+"/24 dev lan0",
		"-n "+space+" link set lan0 up",
		"-n "+space+" link set lo up")
}

// remove takes everything away, as far as it can. The links go first, by name:
// with their namespace they would go when the kernel finds the time, and the next
// scenario wants their names.
func (l *lan) remove() {
	for _, link := range l.links {
		_ = ip("link del " + link)
	}
	for _, space := range l.spaces {
		_ = ip("netns del " + space)
	}
	_ = ip("link del " + l.bridge)
}

// apply puts the cuts and losses into force at the host of addr.
func (l *lan) apply(addr string) error {
	var rules strings.Builder
	rules.WriteString("table inet chaos\ndelete table inet chaos\ntable inet chaos {\n chain in {\n  type filter hook input priority 0;\n")
	for pair := range l.cuts {
		if pair[1] == addr {
			fmt.Fprintf(&rules, "  ip saddr %s drop\n", pair[0])
		}
	}
	if loss := l.loss[addr]; loss > 0 {
		of := ""
		if l.lossUDP {
			of = "meta l4proto udp "
		}
		fmt.Fprintf(&rules, "  iifname lan0 %snumgen random mod 100 < %d drop\n", of, loss)
	}
	rules.WriteString(" }\n}\n")
	return sh(rules.String(), "ip", "netns", "exec", l.host[addr], "nft", "-f", "-")
}

// applyAll puts all cuts and losses into force.
func (l *lan) applyAll() error {
	for addr := range l.host {
		if err := l.apply(addr); err != nil {
			return err
		}
	}
	return nil
}
