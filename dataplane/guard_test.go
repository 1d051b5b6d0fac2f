package dataplane_test

import (
	"net/netip"
	"testing"

	"github.com/meshgw/meshgw/dataplane"
)

func TestMetadataAddressesAreOffLimits(t *testing.T) {
	for addr, want := range map[string]bool{
		"169.254.169.254": true, "::ffff:169.254.169.254": true, "64:ff9b::a9fe:a9fe": true, "fe80::1%eth0": true,
		"fd00:ec2::254": true, "fd20:ce::254": true, "fd00:c1::a9fe:a9fe": true, "100.100.100.200": true, "168.63.129.16": true,
		"0.0.0.0": true, "::": true, "224.0.0.1": true, "ff02::1": true, "64:ff9b::": true,
		"127.0.0.1": false, "10.0.0.1": false, "64:ff9b::a00:1": false, "fd00:ec2::253": false, "100.100.100.201": false, "2001:db8::1": false,
	} {
		if got := dataplane.OffLimits(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}
