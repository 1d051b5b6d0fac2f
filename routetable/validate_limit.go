package routetable

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

func (v *validator) limit(l *Limit) {
	if l.Rate == nil && l.Concurrency == 0 {
		v.errorf("", "expected a rate, a concurrency or both")
	}
	v.rate("", l.Rate, l.Burst, l.Concurrency)
	v.limitKey(l.Key)
	if l.Scope != "" && l.Scope != "mesh" && l.Scope != "node" {
		v.errorf("scope", "expected mesh or node, got %q", l.Scope)
	}
	if _, _, ok := limitWait(l.Wait); !ok {
		v.errorf("wait", "expected auto or a duration up to %s, got %q", maxLimitWait, l.Wait)
	}
	if l.WhenIsolated != "" && l.WhenIsolated != "open" {
		if part, err := strconv.ParseFloat(l.WhenIsolated, 64); err != nil || !(part >= 0 && part <= 1) {
			v.errorf("when_isolated", "expected open or a part from 0 to 1, got %q", l.WhenIsolated)
		}
	}
}

func (v *validator) rate(prefix string, r *Rate, burst *int64, concurrency int) {
	if r != nil {
		if known := r.Per > 0 && slices.Contains([]string{"s", "m", "h", "d"}, r.String()[strings.IndexByte(r.String(), '/')+1:]); !known {
			v.errorf(prefix+"rate", "expected a rate such as 100/s, 10/m, 5/h or 1/d")
		}
		v.between(prefix+"rate", r.N, 1, maxCount)
	}
	if burst != nil {
		v.between(prefix+"burst", *burst, 1, maxCount)
		if r == nil {
			v.errorf(prefix+"burst", "is of a rate, and none is given")
		}
	}
	v.upTo(prefix+"concurrency", int64(concurrency), 1<<30)
}

func (v *validator) limitKey(key []string) {
	if !v.bounded("key", len(key)) {
		return
	}
	for i, word := range key {
		field := item("key", i)
		if word == "none" {
			if len(key) > 1 {
				v.errorf(field, "none stands alone")
			}
			continue
		}
		if _, known := keyPart(word); !known {
			v.errorf(field, "expected %s, got %q", keyWords, word)
		}
		if slices.Contains(key[:i], word) {
			v.errorf(field, "%s is there already", word)
		}
	}
}

func (v *validator) tenant(t *Tenant) {
	if _, known := priority(t.Priority); !known {
		v.errorf("priority", "expected %s, got %q", priorityWords, t.Priority)
	}
	if t.Limits != nil {
		v.rate("limits.", t.Limits.Rate, t.Limits.Burst, t.Limits.Concurrency)
	}
	if t.Identify == nil {
		v.errorf("identify", "expected how requests of the tenant are known: header, api_key_sha256, jwt_claim or mtls_san")
		return
	}
	v.identify(t.Identify)
}

func (v *validator) identify(id *Identify) {
	var given []string
	for _, way := range []struct {
		name string
		set  bool
	}{
		{"header", id.Header != "" || id.Value != ""},
		{"api_key_sha256", len(id.APIKeySHA256) > 0},
		{"jwt_claim", id.JWTClaim != nil},
		{"mtls_san", id.MTLSSAN != ""},
	} {
		if way.set {
			given = append(given, way.name)
		}
	}
	v.oneOf("identify", given, "header", "api_key_sha256", "jwt_claim", "mtls_san")
	if id.Header != "" || id.Value != "" {
		v.headerName("identify.header", id.Header)
		if id.Value == "" {
			v.errorf("identify.value", "expected the value that the header must have")
		}
		v.fieldValue("identify.value", id.Value)
	}
	if c := id.JWTClaim; c != nil && (c.Name == "" || c.Value == "") {
		v.errorf("identify.jwt_claim", "expected a name and a value")
	}
	if !v.bounded("identify.api_key_sha256", len(id.APIKeySHA256)) {
		return
	}
	for i, text := range id.APIKeySHA256 {
		if sum, err := hex.DecodeString(text); err != nil || len(sum) != 32 {
			v.errorf(item("identify.api_key_sha256", i), "expected the SHA-256 of a key in hex, 64 digits")
		}
	}
}

// identities refuses that two tenants are known by the same thing.
func (v *validator) identities(tenants []*Tenant) {
	owner := map[string]string{}
	for i, t := range tenants {
		if t.Identify == nil {
			continue
		}
		v.at("tenants", i, t)
		for field, id := range t.Identify.all() {
			if other, taken := owner[id]; taken && other != t.Name {
				v.clashf("identify."+field, "identifies tenant %q already", other)
			}
			owner[id] = t.Name
		}
	}
}

// all returns the field and a key for each thing that identifies.
func (id *Identify) all() func(yield func(field, key string) bool) {
	return func(yield func(field, key string) bool) {
		if id.Header != "" && !yield("header", "h\x00"+strings.ToLower(id.Header)+"\x00"+id.Value) {
			return
		}
		if c := id.JWTClaim; c != nil && !yield("jwt_claim", "c\x00"+c.Name+"\x00"+c.Value) {
			return
		}
		if id.MTLSSAN != "" && !yield("mtls_san", "s\x00"+id.MTLSSAN) {
			return
		}
		for i, sum := range id.APIKeySHA256 {
			if !yield(item("api_key_sha256", i), "k\x00"+strings.ToLower(sum)) {
				return
			}
		}
	}
}
