package admin_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/meshgw/meshgw/api"
)

func (n *node) GossipKeys(context.Context) (api.GossipKeys, error) {
	return api.GossipKeys{Keys: []api.GossipKey{{Fingerprint: "old", Nodes: []string{"a", "b"}, Primary: []string{"a", "b"}}}}, nil
}

func (n *node) InstallKey(_ context.Context, fingerprint, by string) (api.KeyChange, error) {
	return api.KeyChange{Fingerprint: "new" + fingerprint, Failed: map[string]string{"by": by}}, nil
}

func (n *node) UseKey(_ context.Context, fingerprint, _ string) (api.KeyChange, error) {
	return api.KeyChange{Fingerprint: fingerprint, Members: 2, Done: 2}, nil
}

func (n *node) RemoveKey(context.Context, string, string) (api.KeyChange, error) {
	return api.KeyChange{}, api.NewProblem(http.StatusConflict, "in use")
}

func TestKeysAreReadAndChanged(t *testing.T) {
	client := clientOf(t, start(t, &node{}, nil, false))
	keys, err := client.GossipKeys(t.Context())
	if err != nil || len(keys.Keys) != 1 || keys.Keys[0].Fingerprint != "old" {
		t.Errorf("keys: %+v, %v", keys, err)
	}
	if c, err := client.InstallKey(t.Context(), ""); err != nil || c.Fingerprint != "new" || c.Failed["by"] != "local@127.0.0.1" {
		t.Errorf("install: %+v, %v", c, err)
	}
	if c, err := client.UseKey(t.Context(), "new"); err != nil || c.Fingerprint != "new" || c.Done != 2 {
		t.Errorf("use: %+v, %v", c, err)
	}
	if _, err := client.RemoveKey(t.Context(), "old"); err == nil || err.Error() != "in use" {
		t.Errorf("remove: %v, want the node's refusal", err)
	}
}
