package routetable

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

// tenantIndex finds tenants by what identifies them.
type tenantIndex struct {
	headers map[string]map[string]*TenantRule // name in lower case, value
	keys    map[[32]byte]*TenantRule
	claims  map[string]map[string]*TenantRule
	sans    map[string]*TenantRule
	header  []string // sorted names
	claim   []string
}

// TenantByHeader returns the tenant that a request's header names, or nil. Ask
// for requests of trusted proxies only.
func (t *Table) TenantByHeader(fields Fields) *TenantRule {
	for _, name := range t.tenantBy.header {
		if value, ok := fields.Header(name); ok {
			if tenant := t.tenantBy.headers[name][string(value)]; tenant != nil {
				return tenant
			}
		}
	}
	return nil
}

// TenantByAPIKey returns the tenant that holds the key with this SHA-256, or nil.
func (t *Table) TenantByAPIKey(sum [32]byte) *TenantRule { return t.tenantBy.keys[sum] }

// TenantByClaim returns the tenant of a verified token's claim, or nil.
func (t *Table) TenantByClaim(name, value string) *TenantRule { return t.tenantBy.claims[name][value] }

// TenantClaims returns the names of all claims that identify tenants, sorted.
func (t *Table) TenantClaims() []string { return t.tenantBy.claim }

// TenantBySAN returns the tenant of a verified client certificate's subject
// alternative name, or nil.
func (t *Table) TenantBySAN(san string) *TenantRule { return t.tenantBy.sans[san] }

// indexTenants lets the first by name win where two claim the same identity;
// the validator refuses such a file, but two merged sides may make one.
func indexTenants(tenants []*TenantRule) tenantIndex {
	x := tenantIndex{
		headers: map[string]map[string]*TenantRule{},
		keys:    map[[32]byte]*TenantRule{},
		claims:  map[string]map[string]*TenantRule{},
		sans:    map[string]*TenantRule{},
	}
	for _, t := range slices.Backward(tenants) {
		id := t.Spec.Identify
		if id == nil {
			continue
		}
		if id.Header != "" {
			putNested(x.headers, strings.ToLower(id.Header), id.Value, t)
		}
		for _, text := range id.APIKeySHA256 {
			if sum, err := hex.DecodeString(text); err == nil && len(sum) == 32 {
				x.keys[[32]byte(sum)] = t
			}
		}
		if id.JWTClaim != nil {
			putNested(x.claims, id.JWTClaim.Name, id.JWTClaim.Value, t)
		}
		if id.MTLSSAN != "" {
			x.sans[id.MTLSSAN] = t
		}
	}
	x.header = slices.Sorted(maps.Keys(x.headers))
	x.claim = slices.Sorted(maps.Keys(x.claims))
	return x
}

func putNested(m map[string]map[string]*TenantRule, name, value string, t *TenantRule) {
	if m[name] == nil {
		m[name] = map[string]*TenantRule{}
	}
	m[name][value] = t
}
