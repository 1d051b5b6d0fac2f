package admin

import (
	"embed"
	"net/http"
	"strings"

	"github.com/meshgw/meshgw/api"
)

// ui is the status page: plain HTML, style and modules, which ask nobody but this
// node. See ui/page.js for how it begins.
//
//go:embed ui
var ui embed.FS

// page serves the status page. Its files hold no data: they ask the API for it with
// the credentials of the viewer.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	if isPage(r) {
		http.ServeFileFS(w, r, ui, partOf(r.URL.Path))
		return
	}
	refuse(w, api.NewProblem(http.StatusNotFound, "no such resource: %s", r.URL.Path))
}

// partOf is the file of a path of the page.
func partOf(path string) string {
	if path == "/" {
		return "ui/index.html"
	}
	return strings.TrimPrefix(path, "/")
}

// isPage reports whether r asks for a part of the page.
func isPage(r *http.Request) bool {
	if !reads(r) || r.URL.Path != "/" && !strings.HasPrefix(r.URL.Path, "/ui/") {
		return false
	}
	f, err := ui.Open(partOf(r.URL.Path))
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // in memory
	info, err := f.Stat()
	return err == nil && !info.IsDir()
}
