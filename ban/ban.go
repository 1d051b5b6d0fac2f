package ban

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshgw/meshgw/crdt"
)

// Bounds of a ban.
const (
	MaxFor  = 30 * 24 * time.Hour // what is to stay longer belongs into the route file
	maxText = 256                 // bytes of Reason, By and Node each
)

// Ban bans a network for a time.
type Ban struct {
	Prefix netip.Prefix  // of IPv4 or IPv6, without bits beyond its mask
	For    time.Duration // how long in all, in whole milliseconds
	Left   time.Duration // how long still
	Reason string        // why, by who put it
	By     string        // who put it
	Node   string        // where
	At     time.Time     // when, by the clock of Node; for display only
}

// ParsePrefix parses an address or a network in CIDR form. It rejects a network
// with bits set beyond its mask, since either part may be the mistake, and one
// that contains all addresses.
func ParsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", text)
		}
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", text)
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q: write networks of IPv4 as such", text)
	case p.Masked() != p:
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its mask; is %s meant?", text, p.Masked())
	case p.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%q is everybody", text)
	}
	return p, nil
}

// Check returns an error if b is not a valid ban.
func (b *Ban) Check() error {
	switch {
	case b.For < time.Millisecond || b.For > MaxFor:
		return fmt.Errorf("%s is no time for a ban: want 1ms to %s", b.For, MaxFor)
	case len(b.Reason) > maxText || len(b.By) > maxText || len(b.Node) > maxText:
		return fmt.Errorf("want texts of at most %d bytes", maxText)
	case !utf8.ValidString(b.Reason + b.By + b.Node):
		return errors.New("want texts in UTF-8")
	}
	return nil
}

// A Ban travels under its prefix as a protobuf message; what a newer node says
// besides is skipped here and passed on as it came.
const (
	fieldFor    = 1
	fieldReason = 2
	fieldBy     = 3
	fieldNode   = 4
	fieldAt     = 5
)

func (b *Ban) encode() []byte {
	out := protowire.AppendVarint(protowire.AppendTag(nil, fieldFor, protowire.VarintType), uint64(b.For.Milliseconds()))
	for num, text := range []string{fieldReason: b.Reason, fieldBy: b.By, fieldNode: b.Node} {
		if text != "" {
			out = protowire.AppendString(protowire.AppendTag(out, protowire.Number(num), protowire.BytesType), text)
		}
	}
	return protowire.AppendVarint(protowire.AppendTag(out, fieldAt, protowire.VarintType), uint64(b.At.UnixMilli()))
}

func decode(key string, value []byte) (Ban, error) {
	var b Ban
	var err error
	if b.Prefix, err = ParsePrefix(key); err != nil || b.Prefix.String() != key {
		return Ban{}, crdt.ErrMalformed
	}
	for len(value) > 0 {
		num, typ, n := protowire.ConsumeTag(value)
		if n < 0 {
			return Ban{}, crdt.ErrMalformed
		}
		size := protowire.ConsumeFieldValue(num, typ, value[n:])
		if size < 0 {
			return Ban{}, crdt.ErrMalformed
		}
		b.set(num, typ, value[n:n+size])
		value = value[n+size:]
	}
	return b, b.Check()
}

func (b *Ban) set(num protowire.Number, typ protowire.Type, field []byte) {
	texts := map[protowire.Number]*string{fieldReason: &b.Reason, fieldBy: &b.By, fieldNode: &b.Node}
	switch {
	case num == fieldFor && typ == protowire.VarintType:
		ms, _ := protowire.ConsumeVarint(field)
		b.For = time.Duration(min(ms, uint64(2*MaxFor.Milliseconds()))) * time.Millisecond
	case num == fieldAt && typ == protowire.VarintType:
		ms, _ := protowire.ConsumeVarint(field)
		b.At = time.UnixMilli(int64(min(ms, 1<<43))).UTC() // the year 2248; more is no date
	case texts[num] != nil && typ == protowire.BytesType:
		*texts[num], _ = protowire.ConsumeString(field)
	}
}
