package routetable

import (
	"net/netip"
	"strings"
	"time"

	"github.com/meshgw/meshgw/routetable/canonical"
)

// The words that a route file's fields take. Each reader gives the meaning and
// whether the word is known; the empty word means the default.

const (
	balanceWords  = "least_request, round_robin, random, consistent_hash or ewma"
	retryWords    = "connect_failure, reset, stalled, 500, 502, 503 or 504"
	priorityWords = "critical, high, normal or low"
	keyWords      = "tenant, client_ip, header:NAME, route or none"
	maxLimitWait  = 500 * time.Millisecond
)

func upstreamProtocol(word string) (Protocol, bool) {
	switch word {
	case "", "http1":
		return HTTP1, true
	case "h2c":
		return H2C, true
	case "h2":
		return H2, true
	}
	return HTTP1, false
}

func balancePolicy(word string) (BalancePolicy, bool) {
	switch word {
	case "", "least_request":
		return LeastRequest, true
	case "round_robin":
		return RoundRobin, true
	case "random":
		return Random, true
	case "consistent_hash":
		return ConsistentHash, true
	case "ewma":
		return EWMA, true
	}
	return LeastRequest, false
}

func retryOn(word string) (RetryOn, bool) {
	switch word {
	case "connect_failure":
		return RetryConnectFailure, true
	case "reset":
		return RetryReset, true
	case "stalled":
		return RetryStalled, true
	case "500":
		return Retry500, true
	case "502":
		return Retry502, true
	case "503":
		return Retry503, true
	case "504":
		return Retry504, true
	}
	return 0, false
}

func priority(word string) (Priority, bool) {
	switch word {
	case "critical":
		return Critical, true
	case "high":
		return High, true
	case "", "normal":
		return Normal, true
	case "low":
		return Low, true
	}
	return Normal, false
}

// keyPart reads a part of a limit's key other than none.
func keyPart(word string) (KeyPart, bool) {
	if name, ok := strings.CutPrefix(word, "header:"); ok {
		return KeyPart{KeyHeader, strings.ToLower(name)}, isToken(name)
	}
	switch word {
	case "tenant":
		return KeyPart{Kind: KeyTenant}, true
	case "client_ip":
		return KeyPart{Kind: KeyClientIP}, true
	case "route":
		return KeyPart{Kind: KeyRoute}, true
	}
	return KeyPart{}, false
}

// limitWait reads how long a request may wait for a limit.
func limitWait(word string) (wait time.Duration, auto, ok bool) {
	if word == "" || word == "auto" {
		return 0, true, true
	}
	d, err := time.ParseDuration(word)
	return d, false, err == nil && d >= 0 && d <= maxLimitWait
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2: a method or
// the name of a header field.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !canonical.IsLetterOrDigit(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isFieldValue reports whether s can be sent as the value of a header field.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == strings.TrimSpace(s)
}

// IsName reports whether s can name an object: what fits in a URL, a metric
// label and a log line as it is.
func IsName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !canonical.IsLetterOrDigit(c) && (i == 0 || strings.IndexByte("._-", c) < 0) {
			return false
		}
	}
	return s != "" && len(s) <= MaxName
}

// validHost reports whether s is a host name in ASCII or an IP address.
func validHost(s string) bool {
	if strings.Contains(s, ":") { // IPv4 addresses pass as names
		_, err := netip.ParseAddr(s)
		return err == nil
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !canonical.IsLetterOrDigit(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// validPath reports whether s is a path in canonical form: from "/", with no
// empty or dot segment, nothing of a query, and whole percent escapes.
func validPath(s string) bool {
	if s == "" || s[0] != '/' || strings.Contains(s, "//") {
		return false
	}
	for segment := range strings.SplitSeq(s[1:], "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f || c == '?' || c == '#' || c == '\\':
			return false
		case c == '%':
			if i+2 >= len(s) || canonical.Unhex(s[i+1]) < 0 || canonical.Unhex(s[i+2]) < 0 {
				return false
			}
			i += 2
		}
	}
	return true
}
