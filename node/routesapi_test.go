package node

import (
	"errors"
	"testing"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/crdt"
)

func TestIfMatchIsAnETagOrAVersion(t *testing.T) {
	var r routes
	for given, want := range map[string]struct {
		stamp  crdt.Stamp
		digest string
		status int
	}{
		"":                 {},
		"*":                {},
		"3":                {stamp: crdt.Stamp{Version: 3}},
		`"3-0123456789ab"`: {stamp: crdt.Stamp{Version: 3}, digest: "0123456789ab"},
		`W/"3-0123"`:       {stamp: crdt.Stamp{Version: 3}, digest: "0123"}, // as a proxy that compresses makes it
		"3@eu-1":           {stamp: crdt.Stamp{Version: 3, Node: "eu-1"}},
		`"of another"`:     {status: 412},
		"soon":             {status: 400},
	} {
		e, err := r.editOf(api.ApplyOptions{IfMatch: given})
		status := 0
		if p, ok := errors.AsType[*api.Problem](err); ok {
			status = p.Status
		}
		if status != want.status || err == nil && (e.IfVersion != want.stamp || e.IfDigest != want.digest) {
			t.Errorf("%s: %v %q, %v; want %v %q, status %d", given, e.IfVersion, e.IfDigest, err, want.stamp, want.digest, want.status)
		}
	}
}
