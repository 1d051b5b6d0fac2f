package admin_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestThePageLoadsOnlyItsOwnParts(t *testing.T) {
	url := start(t, &node{}, nil, false)
	files, err := filepath.Glob("ui/*")
	if err != nil || len(files) < 10 {
		t.Fatalf("%v, %v", files, err)
	}
	types := map[string]string{".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
	policy := []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"}
	elsewhere := regexp.MustCompile(`(?i)(src|href)="(?:[^/#]|//)|url\(|@import|\sstyle=|\son[a-z]+=|https?://[^w]`)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		path := "/" + file
		if file == "ui/index.html" {
			path = "/"
		}
		resp, body := ask(t, "GET", url+path, "")
		if resp.StatusCode != http.StatusOK || body != string(data) || !strings.HasPrefix(resp.Header.Get("Content-Type"), types[filepath.Ext(file)]) {
			t.Errorf("%s: status %d, %s", path, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		csp := resp.Header.Get("Content-Security-Policy")
		if slices.ContainsFunc(policy, func(part string) bool { return !strings.Contains(csp, part) }) || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if found := elsewhere.FindString(body); found != "" {
			t.Errorf("%s: %q", path, found)
		}
		for _, way := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
			if strings.Contains(body, way) {
				t.Errorf("%s: %s", path, way)
			}
		}
	}
	for _, path := range []string{"/ui/", "/ui/no.js", "/ui/../page.go", "/ui"} {
		if resp, _ := ask(t, "GET", url+path, ""); resp.StatusCode == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
}

func TestThePageComesWithoutATokenAndWhatItShowsDoesNot(t *testing.T) {
	url := start(t, &node{}, tokens(t), false)
	for path, want := range map[string]int{"/": 200, "/ui/page.js": 200, "/v1/status": 401, "/v1/live": 401, "/ui/no": 401} {
		if resp, _ := ask(t, "GET", url+path, "", "Host", "gw.example.com"); resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, resp.StatusCode, want)
		}
	}
	if resp, _ := ask(t, "GET", url+"/v1/status", "", "Host", "gw.example.com", "Authorization", "Bearer "+readToken); resp.StatusCode != 200 {
		t.Errorf("with a token: status %d", resp.StatusCode)
	}
}
