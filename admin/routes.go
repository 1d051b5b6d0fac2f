package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/routetable"
)

func (s *Server) document(w http.ResponseWriter, r *http.Request) {
	asJSON := wantsJSON(r.Header.Get("Accept"))
	doc, of, err := s.routes.Document(r.URL.Query().Get("version"), asJSON)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("ETag", api.ETag(of.Version, of.Digest))
	w.Header().Set("Vary", "Accept")
	media := "application/yaml"
	if asJSON {
		media = "application/json"
	}
	w.Header().Set("Content-Type", media)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(doc)) // which knows If-None-Match
}

// wantsJSON reports whether an Accept field does not name YAML before JSON, the
// form of the whole API.
func wantsJSON(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		switch media, _, _ := mime.ParseMediaType(part); media {
		case "application/json":
			return true
		case "application/yaml", "application/x-yaml", "text/yaml":
			return false
		}
	}
	return true
}

func (s *Server) validate(w http.ResponseWriter, r *http.Request) {
	doc, err := body(w, r)
	if err == nil {
		err = s.routes.Validate(doc)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, struct {
		Valid bool `json:"valid"`
	}{true})
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	s.change(w, r, func(doc []byte, o api.ApplyOptions) (api.Applied, error) {
		return s.routes.Apply(r.Context(), doc, o)
	})
}

func (s *Server) rollback(w http.ResponseWriter, r *http.Request) {
	s.change(w, r, func(doc []byte, o api.ApplyOptions) (api.Applied, error) {
		version, err := goBackTo(r.URL.Query(), doc)
		if err != nil {
			return api.Applied{}, err
		}
		return s.routes.Rollback(r.Context(), version, o)
	})
}

// goBackTo is the version that a rollback names, in its query or in its body.
func goBackTo(query url.Values, doc []byte) (string, error) {
	var ask struct {
		Version json.RawMessage `json:"version"` // a number or "VERSION@NODE"
	}
	if len(doc) > 0 {
		if err := strictly(doc, &ask); err != nil {
			return "", err
		}
	}
	version := cmp.Or(query.Get("version"), strings.Trim(string(ask.Version), `"`))
	if version == "" {
		return "", api.NewProblem(http.StatusBadRequest, "want ?version=VERSION or ?version=VERSION@NODE")
	}
	return version, nil
}

// change makes a change and answers when as many nodes hold it as were asked
// for, or the time for that is over.
func (s *Server) change(w http.ResponseWriter, r *http.Request, do func(doc []byte, o api.ApplyOptions) (api.Applied, error)) {
	o, err := applyOptions(r)
	if err != nil {
		refuse(w, err)
		return
	}
	doc, err := body(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	applied, err := do(doc, o)
	if err != nil {
		refuse(w, err)
		return
	}
	if o.Wait != "" && !o.DryRun {
		ctx, cancel := context.WithTimeout(r.Context(), o.Timeout)
		defer cancel()
		applied.Wait = new(wait(ctx, s.node.Status, o.Wait, applied.Version))
	}
	if !o.DryRun {
		w.Header().Set("ETag", api.ETag(applied.Version, applied.Digest))
	}
	answer(w, applied)
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	asked := api.ExplainRequest{Method: q.Get("method"), URL: q.Get("url"), Headers: q["header"]}
	var e any
	mesh, err := wholeMesh(q)
	switch {
	case err != nil:
	case mesh:
		e, err = s.routes.ExplainMesh(r.Context(), asked)
	default:
		e, err = s.routes.Explain(asked)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, e)
}

// wholeMesh reports whether a query asks all nodes, by ?mesh=1.
func wholeMesh(q url.Values) (bool, error) {
	if !q.Has("mesh") {
		return false, nil
	}
	mesh, err := yesOrNo(q.Get("mesh"))
	if err != nil {
		return false, api.NewProblem(http.StatusBadRequest, "?mesh=%s: %v", q.Get("mesh"), err)
	}
	return mesh, nil
}

func yesOrNo(value string) (bool, error) {
	yes, err := strconv.ParseBool(value)
	if err != nil {
		return false, errors.New("want 1, 0, true or false")
	}
	return yes, nil
}

// schema answers what editors check a route file by.
func schema(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/schema+json")
	_, _ = w.Write(routetable.Schema()) // a client that went away is no error of ours
}

func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	doc, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRouteFile))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, api.NewProblem(http.StatusRequestEntityTooLarge, "want at most %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return nil, api.NewProblem(http.StatusBadRequest, "read body: %v", err)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // it is in; the answer may wait longer
	return doc, nil
}

// applyOptions reads the query strictly: a switch that is misspelt must not
// quietly apply what was to be a dry run.
func applyOptions(r *http.Request) (api.ApplyOptions, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return api.ApplyOptions{}, api.NewProblem(http.StatusBadRequest, "read query: %v", err)
	}
	o := api.ApplyOptions{IfMatch: r.Header.Get("If-Match"), By: caller(r), Timeout: defaultWait}
	for name, values := range query {
		value := values[len(values)-1]
		switch name {
		case "prune":
			o.Prune, err = yesOrNo(value)
		case "dry_run":
			o.DryRun, err = yesOrNo(value)
		case "message":
			o.Message = value
		case "wait":
			o.Wait, err = value, api.CheckWait(value)
		case "timeout":
			if o.Timeout, err = time.ParseDuration(value); err != nil || o.Timeout < 0 {
				err = errors.New("want a length of time such as 10s")
			}
			o.Timeout = min(o.Timeout, maxWait)
		case "version": // of a rollback
		default:
			err = errors.New("unknown")
		}
		if err != nil {
			return o, api.NewProblem(http.StatusBadRequest, "?%s=%s: %v", name, value, err)
		}
	}
	return o, nil
}
