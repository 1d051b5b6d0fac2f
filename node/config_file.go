package node

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
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
	doc, err := parser.ParseBytes(data, 0)
	if se, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		f.mistake(se.Token, errors.New(se.Message))
		return
	} else if err != nil {
		d.mistake(path, err)
		return
	}
	for i, part := range doc.Docs {
		if i > 0 && part.Body != nil {
			f.mistake(part.Body.GetToken(), errors.New("want one document"))
			return
		}
		if part.Body != nil && part.Body.Type() != ast.CommentType {
			f.node("", part.Body)
		}
	}
}

// settingsFile walks one file and puts each value it meets.
type settingsFile struct {
	*draft
	path string
}

func (f *settingsFile) place(t *token.Token) string {
	if t == nil || t.Position == nil {
		return f.path
	}
	return f.path + ":" + strconv.Itoa(t.Position.Line) + ":" + strconv.Itoa(t.Position.Column)
}

func (f *settingsFile) mistake(t *token.Token, err error) { f.draft.mistake(f.place(t), err) }

// node puts the value n of key, which is known to be a key or a section.
func (f *settingsFile) node(key string, n ast.Node) {
	switch n := n.(type) {
	case *ast.NullNode: // as good as not written
	case *ast.MappingNode:
		for _, entry := range n.Values {
			f.entry(key, entry)
		}
	case *ast.MappingValueNode:
		f.entry(key, n)
	case *ast.SequenceNode:
		f.sequence(key, n)
	default:
		if value, ok := scalar(n); ok {
			f.value(key, n.GetToken(), []string{value})
		} else {
			f.mistake(n.GetToken(), fmt.Errorf("%s: want a plain value", cmp.Or(key, "settings")))
		}
	}
}

func (f *settingsFile) entry(section string, entry *ast.MappingValueNode) {
	at := entry.Key.GetToken()
	key := at.Value
	if section != "" {
		key = section + "." + key
	}
	if what, _ := lookUp(key); what == unknownKey {
		f.mistake(at, fmt.Errorf("unknown key %s", key))
		return
	}
	f.node(key, entry.Value)
}

func (f *settingsFile) sequence(key string, n *ast.SequenceNode) {
	if key == certificateList {
		f.Listen.Certificates = make([]Certificate, len(n.Values))
		for i, v := range n.Values {
			f.node(certificateList+"["+strconv.Itoa(i)+"]", v)
		}
		return
	}
	if key == moreKey {
		f.more(n)
		return
	}
	values := make([]string, 0, len(n.Values))
	for _, v := range n.Values {
		value, ok := scalar(v)
		if !ok {
			f.mistake(v.GetToken(), fmt.Errorf("%s: want a plain value", key))
			return
		}
		values = append(values, value)
	}
	if _, s := lookUp(key); !s.Many {
		f.mistake(n.GetToken(), fmt.Errorf("%s: want one value, not a list", cmp.Or(key, "settings")))
		return
	}
	if len(values) > 0 {
		f.value(key, n.Values[0].GetToken(), values)
	}
}

func (f *settingsFile) value(key string, at *token.Token, values []string) {
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
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

type keyKind int

const (
	unknownKey keyKind = iota
	sectionKey
	settingKey
)

// lookUp tells what a key of the file is, and for a setting's which.
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
