package api

import (
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// Changeset is one apply in the history of the table.
type Changeset struct {
	ID       string    `json:"id"` // VERSION@NODE
	Version  uint64    `json:"version"`
	Node     string    `json:"node"` // where it was applied
	At       time.Time `json:"at,omitzero"`
	By       string    `json:"by,omitempty"`      // name of the token, or how it came
	Message  string    `json:"message,omitempty"` // why
	Conflict bool      `json:"conflict"`          // some of it lost against a concurrent edit
	Changes  []Change  `json:"changes"`           // the first 1000 have their Diff
}

// The operations of a Change.
const (
	OpCreate = "create"
	OpUpdate = "update"
	OpDelete = "delete"
)

// Change is what becomes of one object.
type Change struct {
	Op   string `json:"op"`
	Kind string `json:"kind"` // route, upstream, limit or tenant
	Name string `json:"name"`
	Diff string `json:"diff,omitempty"` // unified, of the object as YAML
}

// ApplyOptions say how a route file is applied. They are the query of
// POST /v1/routes and POST /v1/routes/rollback.
type ApplyOptions struct {
	IfMatch string        // ETag or version that the table must still have; empty for any
	Prune   bool          // delete what the file lacks
	DryRun  bool          // change nothing, tell what would change
	Message string        // why, for the history
	Wait    string        // all, region or a number of nodes that must hold it; empty for this one
	Timeout time.Duration // of Wait; 0 for the node's default of 30 s
	By      string        // who asks; the admin server sets it, a client's is ignored
}

// Applied is the answer to an apply.
type Applied struct {
	Version uint64   `json:"version"` // of a dry run the one that the table stays at
	ID      string   `json:"id"`      // VERSION@NODE; empty where nothing changed
	Digest  string   `json:"digest"`
	DryRun  bool     `json:"dry_run"`
	Changes []Change `json:"changes"` // none: the table was so already; without DryRun, the first 1000 have their Diff
	Wait    *Wait    `json:"wait,omitempty"`

	// Warnings are about what changed: nothing is refused for them. The first 1000.
	Warnings []Mistake `json:"warnings,omitempty"`
}

// ExplainRequest asks which route would answer a request.
type ExplainRequest struct {
	Method  string   `json:"method"`
	URL     string   `json:"url"`
	Headers []string `json:"headers,omitempty"` // "name: value" each
}

// Explanation says which route answers a request, and why.
type Explanation struct {
	Node     string        `json:"node"`
	Version  uint64        `json:"version"`
	Digest   string        `json:"digest"`
	Route    string        `json:"route"` // empty: none
	Upstream string        `json:"upstream,omitempty"`
	Why      string        `json:"why"`
	Near     []NearbyRoute `json:"near"` // those that came close, the closest first
}

// MeshExplanation is what the nodes of a mesh say which route answers a
// request.
type MeshExplanation struct {
	Agree      bool          `json:"agree"`      // all that answered say the same, of the same table
	Answers    []Explanation `json:"answers"`    // ordered by node
	Unanswered []Unanswered  `json:"unanswered"` // ordered by node
}

// Unanswered is a node that has not left and did not answer a question put to all.
type Unanswered struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// SameAs reports whether e says the same as o, of the same table.
func (e Explanation) SameAs(o Explanation) bool {
	e.Node = o.Node
	return reflect.DeepEqual(e, o)
}

// NearbyRoute is a route that does not answer a request but nearly did.
type NearbyRoute struct {
	Route string `json:"route"`
	Why   string `json:"why"` // what kept it from answering
}

// etagDigits is how much of a digest an ETag holds: enough to tell the two
// tables of a partition apart, short enough to read out.
const etagDigits = 12

// ETag is the entity tag of a table: "VERSION-DIGEST12", with the quotes.
func ETag(version uint64, digest string) string {
	return fmt.Sprintf("%q", strconv.FormatUint(version, 10)+"-"+digest[:min(len(digest), etagDigits)])
}
