package routefile_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/internal/tabletest"
	"github.com/meshgw/meshgw/routetable/routefile"
)

// inMemory reads files that are there under these names.
func inMemory(files map[string]string) routefile.Reading {
	return routefile.Reading{
		Glob: func(pattern string) (found []string, err error) {
			for name := range files {
				ok, badPattern := filepath.Match(pattern, name)
				if err = badPattern; ok {
					found = append(found, name)
				}
			}
			slices.Sort(found)
			return found, err
		},
		Open: func(path string) (io.ReadCloser, error) {
			text, ok := files[path]
			switch {
			case path == endless:
				return io.NopCloser(zeros{}), nil
			case ok:
				return io.NopCloser(strings.NewReader(text)), nil
			}
			return nil, errors.New(path + " is not there")
		},
	}
}

func TestIncludedFilesAreReadOnceAndRelativeToTheirOwn(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"/etc/a.yaml":        "include: [parts/*.yaml, '${ENV}.yaml', /abs/d.yaml]\nroutes: []\n",
		"/etc/parts/b.yaml":  "include: [../shared.yaml, c.yaml]\n",
		"/etc/parts/c.yaml":  "",
		"/etc/prod.yaml":     "include:\n",
		"/etc/shared.yaml":   "# include: [nothing.yaml]\n",
		"/abs/d.yaml":        "{\"include\": [\"./none*\"]}",
		"/etc/unrelated.yml": "",
	}
	all, err := inMemory(files).Include(tabletest.Env, routefile.Source{Name: "/etc/a.yaml", Data: []byte(files["/etc/a.yaml"])})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		got = append(got, s.Name)
	}
	want := []string{"/etc/a.yaml", "/etc/parts/b.yaml", "/etc/shared.yaml", "/etc/parts/c.yaml", "/etc/prod.yaml", "/abs/d.yaml"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if _, err := routefile.Decode(tabletest.Env, all...); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeIncluded(t *testing.T) {
	t.Parallel()
	nested := map[string]string{}
	for i := range 20 {
		nested[fmt.Sprintf("n%d.yaml", i)] = fmt.Sprintf("include: [n%d.yaml]\n", i+1)
	}
	for want, files := range map[string]map[string]string{
		"f.yaml:1:11: include: f.yaml includes itself":                                         {"f.yaml": "include: [./f.yaml]"},
		"b.yaml:1:11: include: f.yaml includes itself, by way of a.yaml and b.yaml":            {"f.yaml": "include: [a.yaml]", "a.yaml": "include: [b.yaml]", "b.yaml": "include: [f.yaml]"},
		"f.yaml:1:11: include: none.yaml is not there":                                         {"f.yaml": "include: [none.yaml]"},
		`f.yaml:1:11: include: expected a file or a pattern such as routes/*.yaml, got "[a.*"`: {"f.yaml": "include: ['[a.*']", "a.yaml": ""},
		"include: expected at most 1000 files, nested 16 deep":                                 nested,
	} {
		name := "f.yaml"
		if files[name] == "" {
			name = "n0.yaml"
		}
		_, err := inMemory(files).Include(tabletest.Env, routefile.Source{Name: name, Data: []byte(files[name])})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err := routefile.Decode(nil, tabletest.File("include: [/etc/shadow]\n"))
	if err == nil || !strings.Contains(err.Error(), "f.yaml:1:10: include: files can be included only where the file is read") {
		t.Errorf("a document of the API: %v", err)
	}
	all, err := inMemory(nil).Include(tabletest.Env, tabletest.File("include: a.yaml\n"))
	if err == nil {
		_, err = routefile.Decode(tabletest.Env, all...)
	}
	if err == nil || !strings.Contains(err.Error(), "f.yaml:1:10: include: expected a list, got a value") {
		t.Errorf("no list: %v", err)
	}
}

// endless is a file without an end, as a device may be.
const endless = "/dev/zero"

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestAFileWithoutEndIsNotReadWhole(t *testing.T) {
	t.Parallel()
	reading := inMemory(nil)
	_, err := reading.Include(tabletest.Env, routefile.Source{Name: "/etc/a.yaml", Data: []byte("include: [/dev/zero]\n")})
	if err == nil || !strings.Contains(err.Error(), "/dev/zero: more than 16777216 bytes in all") {
		t.Errorf("included: %v", err)
	}
	if _, err := reading.File(endless); err == nil {
		t.Error("the route file itself: no error")
	}
}
