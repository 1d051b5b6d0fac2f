package admin

import (
	"context"
	"net/http"

	"github.com/meshgw/meshgw/api"
)

// Keys is the gossip keys of the mesh. It must be safe for concurrent use. Its
// methods may take some seconds; their errors are *api.Problem.
type Keys interface {
	GossipKeys(ctx context.Context) (api.GossipKeys, error)
	InstallKey(ctx context.Context, fingerprint, by string) (api.KeyChange, error)
	UseKey(ctx context.Context, fingerprint, by string) (api.KeyChange, error)
	RemoveKey(ctx context.Context, fingerprint, by string) (api.KeyChange, error)
}

func (s *Server) keys(w http.ResponseWriter, r *http.Request) {
	keys, err := s.node.GossipKeys(r.Context())
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, keys)
}

func changeKey(do func(ctx context.Context, fingerprint, by string) (api.KeyChange, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask api.KeyRequest
		take(w, r, &ask, func() (api.KeyChange, error) { return do(r.Context(), ask.Fingerprint, caller(r)) })
	}
}
