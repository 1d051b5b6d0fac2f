package admin

import (
	"net/http"

	"github.com/meshgw/meshgw/api"
)

// Bans is the bans of the mesh. It must be safe for concurrent use; its errors
// are *api.Problem.
type Bans interface {
	Bans() []api.Ban
	Ban(r api.BanRequest, by string) (api.Ban, error)
	Unban(cidr, by string) (api.Ban, error)
}

func (s *Server) ban(w http.ResponseWriter, r *http.Request) {
	var ask api.BanRequest
	take(w, r, &ask, func() (api.Ban, error) { return s.node.Ban(ask, caller(r)) })
}

func (s *Server) unban(w http.ResponseWriter, r *http.Request) {
	var ask api.UnbanRequest
	take(w, r, &ask, func() (api.Ban, error) { return s.node.Unban(ask.CIDR, caller(r)) })
}

// take reads the body into ask, has it done and answers what came of it.
func take[T any](w http.ResponseWriter, r *http.Request, ask any, do func() (T, error)) {
	doc, err := body(w, r)
	if err == nil {
		err = strictly(doc, ask)
	}
	var done T
	if err == nil {
		done, err = do()
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, done)
}
