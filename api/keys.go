package api

import (
	"context"
	"slices"
)

// GossipKeys is the keyrings of the mesh: GET /v1/keys. A key is known by its
// fingerprint alone.
type GossipKeys struct {
	Keys       []GossipKey  `json:"keys"`       // the one most seal with first
	Unanswered []Unanswered `json:"unanswered"` // nodes that were asked in vain
	Failed     []string     `json:"failed"`     // members that are gone and have not left: whoever comes back has the keys it had
}

// GossipKey is a key and who has it.
type GossipKey struct {
	Fingerprint string   `json:"fingerprint"`
	Nodes       []string `json:"nodes"`   // that have it
	Primary     []string `json:"primary"` // of these, who seal with it
	Sealed      uint64   `json:"sealed"`  // packets, by these nodes; rotate at 2^31
}

// Late is the nodes that are not among those which of says of a key, and those
// that did not answer.
func (g *GossipKeys) Late(fingerprint string, of func(GossipKey) []string) []string {
	var have, late []string
	for _, k := range g.Keys {
		late = append(late, k.Nodes...)
		if k.Fingerprint == fingerprint {
			have = of(k)
		}
	}
	for _, u := range g.Unanswered {
		late = append(late, u.Node)
	}
	slices.Sort(late)
	return slices.DeleteFunc(slices.Compact(late), func(node string) bool { return slices.Contains(have, node) })
}

// KeyRequest is the body of POST /v1/keys/install, use and remove.
type KeyRequest struct {
	Fingerprint string `json:"fingerprint,omitempty"` // empty installs a new key
}

// KeyChange is how the mesh took a change of its keys.
type KeyChange struct {
	Fingerprint string            `json:"fingerprint"`
	Members     int               `json:"members"` // that were asked, plain Serf agents too
	Done        int               `json:"done"`    // that did it
	Failed      map[string]string `json:"failed"`  // why not, by member
}

// GossipKeys returns the keyrings of all nodes.
func (c *Client) GossipKeys(ctx context.Context) (GossipKeys, error) {
	return get[GossipKeys](ctx, c, "/v1/keys", nil)
}

// InstallKey has every member take a key beside those it has: a new one, made
// by the node, where fingerprint is empty.
func (c *Client) InstallKey(ctx context.Context, fingerprint string) (KeyChange, error) {
	return post[KeyChange](ctx, c, "/v1/keys/install", KeyRequest{fingerprint})
}

// UseKey has every member seal with a key.
func (c *Client) UseKey(ctx context.Context, fingerprint string) (KeyChange, error) {
	return post[KeyChange](ctx, c, "/v1/keys/use", KeyRequest{fingerprint})
}

// RemoveKey has every member forget a key.
func (c *Client) RemoveKey(ctx context.Context, fingerprint string) (KeyChange, error) {
	return post[KeyChange](ctx, c, "/v1/keys/remove", KeyRequest{fingerprint})
}
