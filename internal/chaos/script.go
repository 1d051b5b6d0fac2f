package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// script is one scenario as its file has it.
type script struct {
	name  string
	about string // its first line: what is broken, and what must hold
	steps []step
	files map[string]string
	slack int // by which its waits may be longer
}

// bound is how long what is to take d may take.
func (s *script) bound(d time.Duration) time.Duration { return d * time.Duration(max(1, s.slack)) }

// step is one line of a script.
type step struct {
	number int
	text   string
	words  []string // none: the text is a remark
}

// readScript reads dir/NAME.txtar.
func readScript(dir, name string) (*script, error) {
	data, err := os.ReadFile(filepath.Join(dir, name+".txtar"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no scenario %q; --list names them", name)
	}
	if err != nil {
		return nil, err
	}
	return parseScript(name, data)
}

func parseScript(name string, data []byte) (*script, error) {
	archive := txtar.Parse(data)
	s := &script{name: name, files: map[string]string{}}
	for _, f := range archive.Files {
		s.files[f.Name] = string(f.Data)
	}
	known := verbs()
	for i, text := range strings.Split(string(bytes.TrimSpace(archive.Comment)), "\n") {
		text = strings.TrimSpace(text)
		remark, isRemark := strings.CutPrefix(text, "#")
		switch {
		case i == 0 && !isRemark:
			return nil, fmt.Errorf("%s:1: want a remark that says what the scenario is", name)
		case i == 0:
			s.about = strings.TrimSpace(remark)
		case text == "":
		case isRemark:
			s.steps = append(s.steps, step{number: i + 1, text: text})
		default:
			st := step{number: i + 1, text: text, words: strings.Fields(text)}
			if err := st.check(known); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, st.number, err)
			}
			s.steps = append(s.steps, st)
		}
	}
	return s, nil
}

// check reports what of a step can be known to be wrong before it is taken.
func (s step) check(known map[string]verb) error {
	v, ok := known[s.words[0]]
	switch {
	case !ok:
		return fmt.Errorf("unknown step %q", s.words[0])
	case len(s.words) <= v.least:
		return fmt.Errorf("want %s", v.usage)
	}
	if !strings.HasSuffix(v.usage, "CONDITION") {
		return nil
	}
	said := s.words[v.least:]
	if said[0] == "not" && len(said) > 1 {
		said = said[1:]
	}
	if _, ok := conditions()[said[0]]; !ok {
		return fmt.Errorf("unknown condition %q", said[0])
	}
	return nil
}

// scenarios are the names of all scripts of dir.
func scenarios(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no scenarios in %s", dir)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".txtar")
	}
	slices.Sort(files)
	return files, nil
}

// args are what follows a verb: names, options such as rate=100, and flags.
type args struct {
	names   []string
	options map[string]string
	flags   []string // from the first word with dashes on
}

func parseArgs(words []string) args {
	a := args{options: map[string]string{}}
	for i, w := range words {
		key, value, isOption := strings.Cut(w, "=")
		switch {
		case strings.HasPrefix(w, "--"):
			a.flags = words[i:]
			return a
		case isOption:
			a.options[key] = value
		default:
			a.names = append(a.names, strings.TrimSuffix(w, ","))
		}
	}
	return a
}
