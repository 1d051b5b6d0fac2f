package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/internal/files"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

// maxRouteFile is what a node takes, of all files together.
const maxRouteFile = 16 << 20

// routeFiles are the files that a command was told to read, as one.
type routeFiles struct {
	file *routefile.File
	doc  []byte // with the references to the environment resolved, as nodes want it
}

// readRouteFiles reads files; - is standard input.
func readRouteFiles(ctx context.Context, paths []string, stdin io.Reader) (*routeFiles, error) {
	sources, err := readSources(ctx, paths, stdin)
	if err != nil {
		return nil, err
	}
	file, err := decode(sources)
	if err != nil {
		return nil, fmt.Errorf("%s:\n%w", notValid, err)
	}
	doc, err := routefile.EncodeYAML(file.Spec)
	if err != nil {
		return nil, err
	}
	return &routeFiles{file: file, doc: doc}, nil
}

// decode reads sources and what they include as one file.
func decode(sources []routefile.Source) (*routefile.File, error) {
	all, err := routefile.Reading{Glob: filepath.Glob, Open: openFile}.Include(os.LookupEnv, sources...)
	if err != nil {
		return nil, err
	}
	return routefile.Decode(os.LookupEnv, all...)
}

func openFile(path string) (io.ReadCloser, error) { return files.Open(path) }

const notValid = "the route file is not valid"

// apply applies the files. What the node finds wrong is told with its place in
// them, which the node does not know; what it warns of, on warn.
func (f *routeFiles) apply(ctx context.Context, client *api.Client, o api.ApplyOptions, warn io.Writer) (api.Applied, error) {
	applied, err := client.Apply(ctx, f.doc, o)
	if len(applied.Warnings) > 0 {
		say(warn, "%v\n", f.located(routetable.Warning, applied.Warnings))
	}
	p, ok := errors.AsType[*api.Problem](err)
	if !ok || len(p.Errors) == 0 {
		return applied, err
	}
	return applied, fmt.Errorf("%s:\n%w", p.Detail, f.located(routetable.Error, p.Errors))
}

// located gives what a node says of the files its places in them.
func (f *routeFiles) located(severity routetable.Severity, mistakes []api.Mistake) routetable.Problems {
	var all routetable.Problems
	for _, m := range mistakes {
		all = append(all, routetable.Problem{Severity: severity, Path: m.Field, Object: m.Object, Message: m.Detail})
	}
	return f.file.Locate(all)
}

// readSources reads files. They may be pipes, such as <(jsonnet routes.jsonnet), which
// are waited for until ctx ends.
func readSources(ctx context.Context, paths []string, stdin io.Reader) ([]routefile.Source, error) {
	var sources []routefile.Source
	left := maxRouteFile
	for _, path := range paths {
		data, err := readUntil(ctx, left, path, stdin)
		if err != nil {
			return nil, fmt.Errorf("%w: read route file: %w", errUsage, err)
		}
		left -= len(data)
		sources = append(sources, routefile.Source{Name: path, Data: data})
	}
	return sources, nil
}

// readUntil is readUpTo until ctx ends. What waits for a pipe then ends with the
// process: nothing wakes it.
func readUntil(ctx context.Context, limit int, path string, stdin io.Reader) ([]byte, error) {
	var data []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		data, err = readUpTo(limit, path, stdin)
	}()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", path, context.Cause(ctx))
	case <-done:
		return data, err
	}
}

func readUpTo(limit int, path string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, int64(limit)+1))
	if err == nil && len(data) > limit {
		err = fmt.Errorf("%s: more than %d bytes in all", path, maxRouteFile)
	}
	return data, err
}
