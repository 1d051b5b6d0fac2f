package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxConfigFile is far above any real one, and keeps a wrong path harmless.
const maxConfigFile = 1 << 20

// certificateList is the one list of mappings in the file.
const certificateList = "listen.https.certificates"

// file puts what the settings file at path says.
func (d *draft) file(path string) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxConfigFile {
		err = fmt.Errorf("larger than %d bytes", maxConfigFile)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		d.mistakes = append(d.mistakes, fmt.Errorf("read settings: %w", err))
		return
	}
	d.document(path, data)
}

// document puts what data, the content of the file at path, says.
func (d *draft) document(path string, data []byte) {
	f := settingsFile{draft: d, path: path}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	for i := 0; err == nil; i++ {
		var doc yaml.Node
		if err = loader.Load(&doc); err != nil || len(doc.Content) == 0 {
			continue
		}
		if i > 0 {
			f.mistake(doc.Content[0], errors.New("want one document"))
			return
		}
		f.node("", doc.Content[0])
	}
	if se, ok := errors.AsType[*yaml.LoadError](err); ok {
		f.mistake(&yaml.Node{Line: max(1, se.Mark.Line), Column: max(1, se.Mark.Column)}, errors.New(strings.TrimPrefix(se.ContextMsg+": "+se.Message, ": ")))
	} else if !errors.Is(err, io.EOF) {
		d.mistake(path, err)
	}
}

// settingsFile walks one file and puts each value it meets.
type settingsFile struct {
	*draft
	path string
}

func (f *settingsFile) place(n *yaml.Node) string {
	return f.path + ":" + strconv.Itoa(n.Line) + ":" + strconv.Itoa(n.Column)
}

func (f *settingsFile) mistake(n *yaml.Node, err error) { f.draft.mistake(f.place(n), err) }

// node puts the value n of key, which is known to be a key or a section.
func (f *settingsFile) node(key string, n *yaml.Node) {
	switch value, plain := scalar(n); {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null": // as good as not written
	case n.Kind == yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			f.entry(key, n.Content, i)
		}
	case n.Kind == yaml.SequenceNode:
		f.sequence(key, n)
	case plain:
		f.value(key, n, []string{value})
	default:
		f.mistake(n, fmt.Errorf("%s: want a plain value", cmp.Or(key, "settings")))
	}
}

// entry puts the i-th of a section's keys and values, which take turns in pairs.
func (f *settingsFile) entry(section string, pairs []*yaml.Node, i int) {
	at, value := pairs[i], pairs[i+1]
	key := at.Value
	for j := 0; j < i; j += 2 {
		if pairs[j].Value == key {
			f.mistake(at, fmt.Errorf("key %s is there already, in line %d", key, pairs[j].Line))
			return
		}
	}
	if section != "" {
		key = section + "." + key
	}
	if what, _ := lookUp(key); what == unknownKey {
		f.mistake(at, fmt.Errorf("unknown key %s", key))
		return
	}
	f.node(key, value)
}

func (f *settingsFile) sequence(key string, n *yaml.Node) {
	if key == certificateList {
		f.Listen.Certificates = make([]Certificate, len(n.Content))
		for i, v := range n.Content {
			f.node(certificateList+"["+strconv.Itoa(i)+"]", v)
		}
		return
	}
	if key == moreKey {
		f.more(n)
		return
	}
	values := make([]string, 0, len(n.Content))
	for _, v := range n.Content {
		value, ok := scalar(v)
		if !ok {
			f.mistake(v, fmt.Errorf("%s: want a plain value", key))
			return
		}
		values = append(values, value)
	}
	if _, s := lookUp(key); !s.Many {
		f.mistake(n, fmt.Errorf("%s: want one value, not a list", cmp.Or(key, "settings")))
		return
	}
	if len(values) > 0 {
		f.value(key, n.Content[0], values)
	}
}

func (f *settingsFile) value(key string, at *yaml.Node, values []string) {
	what, s := lookUp(key)
	if what != settingKey {
		f.mistake(at, fmt.Errorf("%s: want keys and values below it", cmp.Or(key, "settings")))
		return
	}
	i, field, listed := certificateKey(key)
	if !listed {
		f.put(s, f.place(at)+": "+key, values)
		return
	}
	c := &f.Listen.Certificates[i]
	if field == "cert" {
		c.Cert = values[0]
	} else {
		c.Key = values[0]
	}
}

// scalar returns the text of a plain value: settings know their own types.
func scalar(n *yaml.Node) (string, bool) {
	plain := n.Kind == yaml.ScalarNode && n.Style&yaml.TaggedStyle == 0 && n.Anchor == "" && n.Tag != "!!null"
	return n.Value, plain
}

type keyKind int

const (
	unknownKey keyKind = iota
	sectionKey
	settingKey
)

// lookUp says what a key of the file is, and for a setting's which.
func lookUp(key string) (keyKind, Setting) {
	if key == "listen.https" { // the address alone, or a section
		key += ".address"
	}
	if i, field, ok := certificateKey(key); ok && i >= 0 {
		key = strings.TrimSuffix(certificateList+"[]."+field, ".")
	}
	kind := unknownKey
	for _, s := range settings() {
		switch rest, below := strings.CutPrefix(s.Key, key); {
		case s.Key == key:
			return settingKey, s
		case below && (key == "" || strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "[")):
			kind = sectionKey
		}
	}
	return kind, Setting{}
}

// certificateKey takes listen.https.certificates[2].cert apart into 2 and cert.
func certificateKey(key string) (index int, field string, ok bool) {
	rest, ok := strings.CutPrefix(key, certificateList+"[")
	if !ok {
		return 0, "", false
	}
	number, field, _ := strings.Cut(rest, "]")
	index, err := strconv.Atoi(number)
	return index, strings.TrimPrefix(field, "."), err == nil
}

// environment makes a map of what os.Environ returns.
func environment(environ []string) map[string]string {
	env := map[string]string{}
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}
	return env
}
