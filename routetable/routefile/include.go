package routefile

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/meshgw/meshgw/routetable"
)

const (
	maxIncluded = 1000 // files
	maxNesting  = 16   // of files that include each other
)

// Reading finds and reads the files that others include.
type Reading struct {
	Glob func(pattern string) (paths []string, err error)
	Open func(path string) (io.ReadCloser, error)
}

// File reads the file at path, of which no more than a route file may have.
func (r Reading) File(path string) (Source, error) {
	data, err := r.read(path, maxFile)
	return Source{Name: path, Data: data}, err
}

// read fails after limit bytes: a file may be a device, which has no end, or a log.
func (r Reading) read(path string, limit int) ([]byte, error) {
	file, err := r.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err == nil && len(data) > limit {
		err = fmt.Errorf("%s: more than %d bytes in all", path, maxFile)
	}
	return data, err
}

// Include returns files and those that they include, each once: under the key
// "include" a file lists others, or patterns of filepath.Match, relative to itself.
// A file that is not there is a mistake, a pattern that nothing matches is none. The
// error is Problems; what is wrong with the files themselves is for Decode to tell.
func (r Reading) Include(env func(name string) (value string, set bool), files ...Source) ([]Source, error) {
	in := includer{Reading: r, env: env, seen: map[string]bool{}, left: maxFile}
	for _, file := range files {
		in.seen[filepath.Clean(file.Name)] = true
	}
	for _, file := range files {
		in.add(file)
	}
	return in.files, in.problems.Err()
}

type includer struct {
	Reading
	env      func(string) (string, bool)
	files    []Source
	seen     map[string]bool
	open     []string // the file at hand, behind those that led to it
	left     int      // bytes
	problems routetable.Problems
}

func (in *includer) add(file Source) {
	file.included = true
	in.files = append(in.files, file)
	if !bytes.Contains(file.Data, []byte("include")) {
		return // as most do; to read it twice would be a waste
	}
	root, _ := parse(file.Name, file.Data, in.env)
	if root == nil {
		return
	}
	in.open = append(in.open, filepath.Clean(file.Name))
	if patterns := root.get("include"); patterns != nil {
		for _, pattern := range patterns.items {
			in.follow(filepath.Dir(file.Name), pattern)
		}
	}
	in.open = in.open[:len(in.open)-1]
}

// follow adds what one pattern matches.
func (in *includer) follow(dir string, pattern *node) {
	report := func(format string, args ...any) {
		in.problems = append(in.problems, pattern.problem("include", format, args...))
	}
	path := filepath.Clean(pattern.text)
	if pattern.shape != scalar || pattern.text == "" {
		return // Decode reports it
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	paths := []string{path}
	if strings.ContainsAny(path, `*?[`) {
		var err error
		if paths, err = in.Glob(path); err != nil {
			report("expected a file or a pattern such as routes/*.yaml, got %q", pattern.text)
		}
	}
	for _, path := range paths {
		switch at := slices.Index(in.open, path); {
		case at >= 0:
			report("%s includes itself%s", path, by(in.open[at+1:]))
		case in.seen[path]:
		case len(in.files) >= maxIncluded || len(in.open) >= maxNesting:
			report("expected at most %d files, nested %d deep", maxIncluded, maxNesting)
			return
		default:
			in.seen[path] = true
			data, err := in.read(path, in.left)
			if err != nil {
				report("%v", err)
				continue
			}
			in.left -= len(data)
			in.add(Source{Name: path, Data: data})
		}
	}
}

// includes checks the key of that name.
func includes(root *node, followed bool) routetable.Problems {
	var d decoder
	if n := root.get("include"); root.shape == mapping && n != nil && n.shape != nothing {
		var patterns []string
		d.value(n, &path{key: "include"}, valueOf(&patterns))
		if !followed {
			d.report(n, &path{key: "include"}, "files can be included only where the file is read, not here")
		}
	}
	return d.problems
}

func by(way []string) string {
	if len(way) == 0 {
		return ""
	}
	return ", by way of " + strings.Join(way, " and ")
}
