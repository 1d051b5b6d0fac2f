// Package discovery finds the addresses of endpoints in DNS: a Resolver those of
// one host name (A and AAAA records), an SRV the endpoints of service names.
//
// Both keep the last good answer when a lookup fails, and look up again in the
// background, so that no request waits for a name that was known before.
package discovery
