package routetable

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a route file, so that a hostile one costs little.
const (
	maxFile  = 16 << 20
	maxDepth = 64
	maxNodes = 1_000_000 // after aliases are followed
	maxKeys  = 4096      // of one mapping
)

// node is a value of a route file with its place. It is what YAML and JSON have
// in common.
type node struct {
	shape  shape
	text   string // of a scalar
	quoted bool   // text is meant as text
	keys   []*node
	items  []*node // of a list; of a mapping, the value of each key
	file   *source
	line   int
	column int
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

// source is one file that is being read.
type source struct {
	name  string
	lines []string
}

func (s *source) problem(line, column int, path, format string, args ...any) Problem {
	p := Problem{File: s.name, Line: line, Column: column, Path: path, Message: fmt.Sprintf(format, args...)}
	if line > 0 && line <= len(s.lines) {
		p.Source = strings.TrimSuffix(s.lines[line-1], "\r")
	}
	return p
}

// place is where a token stands. The scanner counts too few columns in lines that
// begin with tabs, as those of JSON may; there the token is looked for.
func (s *source) place(t *token.Token) (line, column int) {
	line, column = t.Position.Line, t.Position.Column
	if line > 0 && line <= len(s.lines) {
		text := s.lines[line-1]
		from := max(0, min(column-1, len(text)))
		if i := strings.Index(text[from:], strings.TrimSpace(t.Origin)); i > 0 && strings.HasPrefix(text, "\t") {
			column += i
		}
	}
	return line, column
}

func (n *node) problem(path, format string, args ...any) Problem {
	return n.file.problem(n.line, n.column, path, format, args...)
}

// grower makes nodes of one file's syntax tree.
type grower struct {
	file     *source
	env      func(name string) (string, bool)
	anchors  map[string]ast.Node
	open     []string // aliases being followed
	nodes    int
	problems Problems
}

// parse reads one file. The tree is nil where the syntax is beyond reading.
func parse(name string, data []byte, env func(string) (string, bool)) (*node, Problems) {
	file := &source{name: name}
	if len(data) > maxFile {
		return nil, Problems{file.problem(0, 0, "", "the file has %d bytes, at most %d are possible", len(data), maxFile)}
	}
	file.lines = strings.Split(string(data), "\n")
	if i := slices.IndexFunc(file.lines, func(l string) bool { return !utf8.ValidString(l) }); i >= 0 {
		return nil, Problems{{File: name, Line: i + 1, Column: 1, Message: "expected UTF-8"}}
	}
	tokens := lexer.Tokenize(string(data))
	if t := tooDeep(tokens); t != nil {
		return nil, Problems{file.problem(t.Position.Line, t.Position.Column, "", "nested deeper than %d", maxDepth)}
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Problems{syntaxProblem(file, err)}
	}
	g := &grower{file: file, env: env, anchors: map[string]ast.Node{}}
	root := &node{file: file, line: 1, column: 1}
	for i, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if root.shape != nothing {
			g.report(doc.Body, "one document is expected, this is number %d", i+1)
			break
		}
		root = g.grow(doc.Body)
	}
	return root, g.problems
}

func syntaxProblem(file *source, err error) Problem {
	if se, ok := errors.AsType[*yaml.SyntaxError](err); ok && se.Token != nil && se.Token.Position != nil {
		return file.problem(se.Token.Position.Line, se.Token.Position.Column, "", "%s", se.Message)
	}
	return file.problem(0, 0, "", "%v", err)
}

// tooDeep finds where nesting goes too deep, before the recursive parser does.
// A block level costs at least a column, and a dash or question mark is one.
func tooDeep(tokens token.Tokens) *token.Token {
	flow := 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			if flow == 0 && t.Position.Column > 4*maxDepth {
				return t
			}
		case token.MappingValueType:
			if flow == 0 && t.Prev != nil && t.Prev.Position.Column > 4*maxDepth {
				return t
			}
		}
		if flow > maxDepth {
			return t
		}
	}
	return nil
}

func (g *grower) report(at ast.Node, format string, args ...any) {
	line, column := g.file.place(at.GetToken())
	g.problems = append(g.problems, g.file.problem(line, column, "", format, args...))
}

func (g *grower) node(at ast.Node, s shape) *node {
	line, column := g.file.place(at.GetToken())
	return &node{shape: s, file: g.file, line: line, column: column}
}

func (g *grower) grow(at ast.Node) *node {
	if g.nodes++; g.nodes > maxNodes {
		if g.nodes == maxNodes+1 {
			g.report(at, "more than %d values, with aliases followed", maxNodes)
		}
		return g.node(at, nothing)
	}
	switch at := at.(type) {
	case *ast.MappingNode:
		return g.mapping(at, at.Values)
	case *ast.MappingValueNode:
		return g.mapping(at, []*ast.MappingValueNode{at})
	case *ast.SequenceNode:
		n := g.node(at, list)
		for _, v := range at.Values {
			n.items = append(n.items, g.grow(v))
		}
		return n
	case *ast.AnchorNode:
		g.anchors[at.Name.GetToken().Value] = at.Value
		return g.grow(at.Value)
	case *ast.AliasNode:
		return g.follow(at)
	case *ast.NullNode:
		return g.node(at, nothing)
	case *ast.TagNode:
		g.report(at, "tags are not expected")
		return g.node(at, nothing)
	}
	return g.scalar(at)
}

// follow grows what an alias stands for, at the alias's own place.
func (g *grower) follow(at *ast.AliasNode) *node {
	name := at.Value.GetToken().Value
	target, known := g.anchors[name]
	switch {
	case !known:
		g.report(at, "no anchor &%s above", name)
	case slices.Contains(g.open, name):
		g.report(at, "*%s leads to itself", name)
	default:
		g.open = append(g.open, name)
		n := g.grow(target)
		g.open = g.open[:len(g.open)-1]
		return n
	}
	return g.node(at, nothing)
}

func (g *grower) mapping(at ast.Node, values []*ast.MappingValueNode) *node {
	n := g.node(at, mapping)
	if len(values) > maxKeys {
		g.report(at, "more than %d keys", maxKeys)
		return n
	}
	seen := make(map[string]*node, len(values))
	var merged []*node
	for _, v := range values {
		if v.Key.IsMergeKey() {
			merged = append(merged, g.grow(v.Value))
			continue
		}
		key := g.key(v.Key)
		if first := seen[key.text]; first != nil {
			g.report(v.Key, "key %q is there already, in line %d", key.text, first.line)
			continue
		}
		seen[key.text] = key
		n.keys, n.items = append(n.keys, key), append(n.items, g.grow(v.Value))
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
		g.problems = append(g.problems, from.problem("", "<< expects a mapping, or a list of them"))
	}
}

func (g *grower) key(at ast.MapKeyNode) *node {
	n := g.node(at, scalar)
	n.text = g.expanded(n, at.GetToken().Value)
	return n
}

func (g *grower) scalar(at ast.Node) *node {
	n := g.node(at, scalar)
	t := at.GetToken()
	switch at := at.(type) {
	case *ast.LiteralNode:
		n.text, n.quoted = at.Value.Value, true
	case *ast.StringNode:
		n.text, n.quoted = at.Value, t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType
	default:
		n.text = t.Value
	}
	if text := g.expanded(n, n.text); text != n.text {
		n.text, n.quoted = text, false // quotes are needed around ${ in a flow mapping; the value may be a number
	}
	return n
}

func (g *grower) expanded(n *node, text string) string {
	text, err := expand(text, g.env)
	if err != nil {
		g.problems = append(g.problems, n.problem("", "%v", err))
	}
	return text
}

// expand replaces ${NAME} and ${NAME:-default}; $${ stands for ${.
func expand(text string, env func(string) (string, bool)) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		reference, rest, closed := strings.Cut(text[i+2:], "}")
		name, otherwise, hasDefault := strings.Cut(reference, ":-")
		if !closed || !isEnvName(name) {
			return "", fmt.Errorf("expected ${NAME} or ${NAME:-default}; $${ stands for ${ itself")
		}
		if env == nil {
			return "", fmt.Errorf("${%s} can be resolved only where the file is read, not here", name)
		}
		value, set := env(name)
		switch {
		case hasDefault && value == "":
			value = otherwise
		case !set:
			return "", fmt.Errorf("environment variable %s is not set, and ${%s:-default} not given", name, name)
		}
		b.WriteString(text[:i] + value)
		text = rest
	}
}

func isEnvName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && (!isLetterOrDigit(c) || i == 0 && c <= '9') {
			return false
		}
	}
	return s != ""
}
