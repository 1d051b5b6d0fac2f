package routefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/canonical"
)

// Bounds of a route file, so that a hostile one costs little.
const (
	maxFile    = 16 << 20
	maxDepth   = 64
	maxNodes   = 1_000_000    // after aliases are followed
	maxMarks   = 4 * maxNodes // that part values, before any is read
	maxKeys    = 256          // of one mapping: they are compared with each other
	maxObjects = 100_000      // as a table may have
	maxTold    = 1000         // mistakes
)

// node is a value of a route file with its place. It is what YAML and JSON have
// in common.
type node struct {
	shape        shape
	quoted       bool   // text is meant as text
	placeholders bool   // text holds some
	text         string // of a scalar
	*branches           // never nil: most values have none, and share an empty one
	file         *source
	line         int
	column       int
}

// branches are what a list or a mapping holds.
type branches struct {
	keys  []*node
	items []*node // of a list; of a mapping, the value of each key
}

type shape uint8

const (
	nothing shape = iota
	scalar
	list
	mapping
)

func (s shape) String() string {
	return [...]string{"nothing", "a value", "a list", "a mapping"}[s]
}

// get returns the value of a key of a mapping, or nil.
func (n *node) get(name string) *node {
	for i, k := range n.keys {
		if k.text == name {
			return n.items[i]
		}
	}
	return nil
}

// key returns the key of that name, or nil.
func (n *node) key(name string) *node {
	for _, k := range n.keys {
		if k.text == name {
			return k
		}
	}
	return nil
}

// source is one file that is being read.
type source struct {
	name  string
	data  []byte
	lines []string // of data, split when the first is asked for
}

// line returns the line of that number, or nothing.
func (s *source) line(number int) string {
	if s.lines == nil {
		s.lines = strings.Split(string(s.data), "\n")
	}
	if number < 1 || number > len(s.lines) {
		return ""
	}
	return strings.TrimSuffix(s.lines[number-1], "\r")
}

// prefix begins a place in the file: its name, if it has one.
func (s *source) prefix() string {
	if s.name == "" {
		return ""
	}
	return s.name + ":"
}

func (s *source) problem(line, column int, path, format string, args ...any) routetable.Problem {
	return routetable.Problem{File: s.name, Line: line, Column: column, Path: path, Message: fmt.Sprintf(format, args...), Source: s.line(line)}
}

func (n *node) problem(path, format string, args ...any) routetable.Problem {
	return n.file.problem(n.line, n.column, path, format, args...)
}

// grower makes nodes of one file's syntax tree.
type grower struct {
	file     *source
	env      func(name string) (string, bool)
	open     []*yaml.Node // aliases being followed
	nodes    int
	problems routetable.Problems

	none   *branches // of the values that have none
	beyond *node     // for all values that are too many
	free   []node    // made many at a time
}

// parse reads one file. The tree is nil where the syntax is beyond reading.
func parse(name string, data []byte, env func(string) (string, bool)) (*node, routetable.Problems) {
	file := &source{name: name}
	if len(data) > maxFile {
		return nil, routetable.Problems{file.problem(0, 0, "", "the file has %d bytes, at most %d are possible", len(data), maxFile)}
	}
	file.data = data
	if marks(data) > maxMarks { // YAML makes some hundred bytes of each value, before they can be counted
		return nil, routetable.Problems{file.problem(1, 1, "", "more than %d values", maxNodes)}
	}
	if !utf8.Valid(data) {
		return nil, routetable.Problems{{File: name, Line: invalidLine(data), Column: 1, Message: "expected UTF-8"}}
	}
	docs, err := documents(asYAML(data))
	if err != nil {
		return nil, routetable.Problems{syntaxProblem(file, err)}
	}
	g := &grower{file: file, env: env, none: new(branches)}
	root := &node{branches: g.none, file: file, line: 1, column: 1}
	g.beyond = root
	for i, doc := range docs {
		if root.shape != nothing {
			g.report(doc, "one document is expected, this is number %d", i+1)
			break
		}
		root = g.grow(doc, 0)
	}
	if g.nodes > maxNodes {
		return nil, g.problems[:1]
	}
	return root, g.problems
}

// marks counts what may stand between two values.
func marks(data []byte) int {
	n := 0
	for _, c := range data {
		switch c {
		case '\n', ',', ':', '[', '{':
			n++
		}
	}
	return n
}

// invalidLine is the number of the first line that is no UTF-8.
func invalidLine(data []byte) int {
	number := 1
	for line := range bytes.Lines(data) {
		if !utf8.Valid(line) {
			break
		}
		number++
	}
	return number
}

// documents parses the documents of a file that are not empty.
func documents(data []byte) (docs []*yaml.Node, err error) {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	for err == nil {
		var doc yaml.Node
		if err = loader.Load(&doc); err == nil && len(doc.Content) > 0 {
			docs = append(docs, doc.Content[0])
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return docs, err
}

// asYAML makes up for what JSON has and YAML lacks: characters that are a line
// break there or forbidden, and \ud83d\ude00, one character escaped as two halves.
func asYAML(data []byte) []byte {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return data
	}
	data = escapeBreaks(data)
	if !bytes.Contains(data, []byte(`\u`)) {
		return data
	}
	return surrogates.ReplaceAllFunc(data, func(pair []byte) []byte {
		m := surrogates.FindSubmatch(pair)
		if len(m[1])%2 == 1 {
			return pair // the backslash is itself escaped
		}
		high, _ := strconv.ParseUint(string(m[2]), 16, 16)
		low, _ := strconv.ParseUint(string(m[3]), 16, 16)
		return fmt.Appendf(m[1], `\U%08x`, utf16.DecodeRune(rune(high), rune(low)))
	})
}

var surrogates = regexp.MustCompile(`(?i)(\\*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})`)

func syntaxProblem(file *source, err error) routetable.Problem {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return file.problem(0, 0, "", "%v", err)
	}
	at, text := e.Mark, strings.Replace(e.Message, "did not find expected", "expected", 1)
	if e.ContextMsg != "" {
		text += fmt.Sprintf(", %s from line %d on", e.ContextMsg, e.ContextMark.Line)
	}
	p := file.problem(max(1, at.Line), max(1, at.Column), "", "%s", text)
	if rest := p.Source; len(rest) >= p.Column && rest[p.Column-1] == '\t' {
		p.Message = "a tab where spaces are expected: YAML is indented by spaces"
	}
	if p.Source == "" && e.ContextMsg != "" { // the end of the file
		p = file.problem(e.ContextMark.Line, max(1, e.ContextMark.Column), "", "%s", text)
	}
	return p
}

func (g *grower) report(at *yaml.Node, format string, args ...any) {
	if len(g.problems) <= maxTold {
		g.problems = append(g.problems, g.file.problem(at.Line, at.Column, "", format, args...))
	}
}

func (g *grower) reportNode(at *node, format string, args ...any) {
	if len(g.problems) <= maxTold {
		g.problems = append(g.problems, at.problem("", format, args...))
	}
}

func (g *grower) node(at *yaml.Node, s shape) *node {
	if len(g.free) == 0 {
		g.free = make([]node, 256)
	}
	n := &g.free[0]
	g.free = g.free[1:]
	*n = node{shape: s, branches: g.none, file: g.file, line: at.Line, column: at.Column}
	if s == list || s == mapping {
		n.branches = new(branches)
	}
	return n
}

func (g *grower) grow(at *yaml.Node, depth int) *node {
	g.nodes++
	switch {
	case g.nodes > maxNodes:
		if g.nodes == maxNodes+1 {
			g.problems = routetable.Problems{g.file.problem(at.Line, at.Column, "", "more than %d values, with aliases followed", maxNodes)}
		}
		return g.beyond
	case depth > maxDepth:
		g.report(at, "nested deeper than %d", maxDepth)
		return g.node(at, nothing)
	case at.Kind == yaml.AliasNode:
		return g.follow(at, depth)
	case at.Style&yaml.TaggedStyle != 0:
		g.report(at, "tags are not expected")
		return g.node(at, nothing)
	case at.Kind == yaml.MappingNode:
		return g.mapping(at, depth)
	case at.Kind == yaml.SequenceNode:
		n := g.node(at, list)
		n.items = make([]*node, len(at.Content))
		for i, item := range at.Content {
			n.items[i] = g.grow(item, depth+1)
		}
		return n
	case at.Tag == "!!null":
		return g.node(at, nothing)
	}
	return g.scalar(at)
}

// follow grows what an alias stands for.
func (g *grower) follow(at *yaml.Node, depth int) *node {
	if slices.Contains(g.open, at.Alias) {
		g.report(at, "*%s leads to itself", at.Value)
		return g.node(at, nothing)
	}
	g.open = append(g.open, at.Alias)
	n := g.grow(at.Alias, depth+1)
	g.open = g.open[:len(g.open)-1]
	return n
}

func (g *grower) mapping(at *yaml.Node, depth int) *node {
	n := g.node(at, mapping)
	count := len(at.Content) / 2
	if count > maxKeys {
		g.report(at, "more than %d keys", maxKeys)
		return n
	}
	n.keys, n.items = make([]*node, 0, count), make([]*node, 0, count)
	var merged []*node
	for i := range count {
		key, value := at.Content[2*i], at.Content[2*i+1]
		if key.Kind != yaml.ScalarNode {
			g.report(key, "expected a key")
			continue
		}
		if key.Value == "<<" && !quoted(key) {
			merged = append(merged, g.grow(value, depth+1))
			continue
		}
		k := g.scalar(key)
		if first := n.key(k.text); first != nil {
			g.report(key, "key %q is there already, in line %d", k.text, first.line)
			continue
		}
		n.keys, n.items = append(n.keys, k), append(n.items, g.grow(value, depth+1))
	}
	if len(n.keys) > 0 {
		n.line, n.column = n.keys[0].line, n.keys[0].column
	}
	for _, m := range merged {
		g.merge(n, m)
	}
	return n
}

// merge adds what "<<" names to n: a mapping, or several in a list.
func (g *grower) merge(n, from *node) {
	switch from.shape {
	case mapping:
		for i, k := range from.keys {
			if n.get(k.text) == nil && len(n.keys) < maxKeys {
				n.keys, n.items = append(n.keys, k), append(n.items, from.items[i])
			}
		}
	case list:
		for _, item := range from.items {
			g.merge(n, item)
		}
	default:
		g.reportNode(from, "<< expects a mapping, or a list of them")
	}
}

func (g *grower) scalar(at *yaml.Node) *node {
	n := g.node(at, scalar)
	n.text, n.quoted = at.Value, quoted(at)
	if text := g.expanded(n, n.text); text != n.text {
		n.text, n.quoted = text, false // quotes are needed around ${ in a flow mapping; the value may be a number
	}
	return n
}

func quoted(at *yaml.Node) bool {
	return at.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

func (g *grower) expanded(n *node, text string) string {
	text, placeholders, err := expand(text, g.env)
	n.placeholders = placeholders
	if err != nil {
		g.reportNode(n, "%v", err)
	}
	return text
}

// expand replaces ${NAME} and ${NAME:-default}; $${ stands for ${. What has a dot in
// its name is a placeholder and stays.
func expand(text string, env func(string) (string, bool)) (out string, placeholders bool, err error) {
	if !strings.Contains(text, "${") {
		return text, false, nil
	}
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), placeholders, nil
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		reference, rest, closed := strings.Cut(text[i+2:], "}")
		if closed && routetable.IsPlaceholder(reference) {
			b.WriteString(text[:i+3+len(reference)])
			text, placeholders = rest, true
			continue
		}
		name, otherwise, hasDefault := strings.Cut(reference, ":-")
		if !closed || !isEnvName(name) {
			return "", false, fmt.Errorf("expected ${NAME} or ${NAME:-default}; $${ stands for ${ itself")
		}
		if env == nil {
			return "", false, fmt.Errorf("${%s} can be resolved only where the file is read, not here", name)
		}
		value, set := env(name)
		switch {
		case hasDefault && value == "":
			value = otherwise
		case !set:
			return "", false, fmt.Errorf("environment variable %s is not set, and ${%s:-default} not given", name, name)
		}
		b.WriteString(text[:i] + value)
		text = rest
	}
}

func isEnvName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && (!canonical.IsLetterOrDigit(c) || i == 0 && c <= '9') {
			return false
		}
	}
	return s != ""
}
