package api

import (
	"context"
	"net/url"
)

// LimitUse is a limit and who uses it: GET /v1/limits.
type LimitUse struct {
	Limit
	Tracked    int          `json:"tracked"`              // keys in use at this node, with those whose home it is; of the mesh, at the node that knows most
	Keys       []LimitKey   `json:"keys"`                 // the heaviest users first, at most 20; those asked for, where a key was
	Unanswered []Unanswered `json:"unanswered,omitempty"` // of the mesh: nodes that are not counted in
}

// LimitKey is whom a limit counts, as one node knows it or, of the mesh, all
// together: their leases, demands and the like are then summed, and the mode is the
// gravest.
type LimitKey struct {
	Key      string      `json:"key"`             // hashed, hex
	Of       string      `json:"of,omitempty"`    // whom, such as tenant=acme; empty where nobody has heard or it is one count for all
	Kind     string      `json:"kind"`            // rate or concurrency
	Home     string      `json:"home"`            // the node that leases it; empty before the first lease
	Mode     string      `json:"mode"`            // normal, waiting, partitioned or isolated
	Why      string      `json:"why,omitempty"`   // for modes that are not normal
	Lease    float64     `json:"lease"`           // requests a second, or at once
	Leased   bool        `json:"leased"`          // else only what a node may admit unasked
	Demand   float64     `json:"demand"`          // requests a second
	Admitted int64       `json:"admitted"`        // since the key came into use, or in flight
	Waiting  int         `json:"waiting"`         // requests held for the home's answer
	Pool     *float64    `json:"pool,omitempty"`  // at the home alone: requests not leased; less than 0 is debt
	Users    []LimitUser `json:"users,omitempty"` // at the home, or of the mesh
}

// LimitUser is a node that uses a key, as the key's home knows it.
type LimitUser struct {
	Node   string  `json:"node"`
	Demand float64 `json:"demand"` // requests a second, or wanted at once
	Lease  float64 `json:"lease"`
	AgeMS  float64 `json:"age_ms"` // of its last report
	Silent bool    `json:"silent"` // its lease ended without a word
}

// Limits returns the limits as the node keeps them or, for the whole mesh, as all
// do. key picks those of a name, or the keys whose hash it is or whose subject has
// it; empty is all.
func (c *Client) Limits(ctx context.Context, key string, mesh bool) ([]LimitUse, error) {
	query := url.Values{}
	if mesh {
		query.Set("mesh", "true")
	}
	if key != "" {
		query.Set("key", key)
	}
	return get[[]LimitUse](ctx, c, "/v1/limits", query)
}
