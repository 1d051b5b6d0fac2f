package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/meshgw/meshgw/api"
)

func answer(w http.ResponseWriter, v any) { answerAs(w, http.StatusOK, "application/json", v) }

// refuse answers a Problem as one, and any other error as the node's own fault.
func refuse(w http.ResponseWriter, err error) {
	p, ok := errors.AsType[*api.Problem](err)
	if !ok {
		p = api.NewProblem(http.StatusInternalServerError, "%v", err)
	}
	answerAs(w, p.Status, api.ProblemType, p)
}

func answerAs(w http.ResponseWriter, status int, media string, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // the types of api always marshal
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that went away is no error of ours
}

// unknown answers for what the mux has no pattern for: 405 where the path is
// known by another method, else 404. Its catch-all keeps the mux from doing so.
func unknown(m *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allow []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			probe := &http.Request{Method: method, URL: r.URL, Host: r.Host}
			if _, pattern := m.Handler(probe); pattern != "/" {
				allow = append(allow, method)
			}
		}
		if len(allow) == 0 {
			refuse(w, api.NewProblem(http.StatusNotFound, "no such resource: %s", r.URL.Path))
			return
		}
		w.Header().Set("Allow", strings.Join(allow, ", "))
		refuse(w, api.NewProblem(http.StatusMethodNotAllowed, "%s takes %s", r.URL.Path, strings.Join(allow, ", ")))
	}
}

// policy lets the page load its own parts and ask this node, and nothing else; no
// text can become markup or code in it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// harden bounds the time that a body may take to come in, and sets what every
// answer carries: no sniffing, no framing, no caching, and the policy of the page.
func harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if r.ContentLength != 0 { // where nothing is to come, a read deadline would end the request itself
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		next.ServeHTTP(w, r)
	})
}
