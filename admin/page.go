package admin

import (
	"bytes"
	_ "embed" // the page
	"fmt"
	"html/template"
	"net/http"

	"github.com/meshgw/meshgw/api"
)

//go:embed page.html
var pageHTML string

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"short":   func(digest string) string { return digest[:min(len(digest), 12)] },
		"percent": func(f float64) string { return fmt.Sprintf("%.0f %%", 100*f) },
	}).Parse(pageHTML)
	var b bytes.Buffer
	if err == nil {
		err = t.Execute(&b, struct {
			api.Status
			Mesh api.Mesh
		}{s.node.Status(), s.node.Mesh()})
	}
	if err != nil {
		refuse(w, fmt.Errorf("draw the page: %w", err))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // a client that went away is no error of ours
}
