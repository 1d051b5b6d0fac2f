package routefile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/meshgw/meshgw/routetable"
)

// Source is the text of one route file: YAML, or JSON, which is YAML.
type Source struct {
	Name string // for messages, and where it includes others: its path
	Data []byte

	included bool // what it includes is there too: see Reading
}

// File is what one or several route files say, with the places where they say
// it.
type File struct {
	Spec    *routetable.Spec
	objects map[string][]*node // by list: upstreams, routes, limits, tenants, access
}

// Decode reads route files as one. It is strict: an unknown key, a value of the
// wrong form, a duplicate key or an object that is there twice are errors, and
// all of them are reported at once, as Problems with file, line and column.
//
// A top-level block "defaults" gives, per kind (upstream, route, limit, tenant, access),
// what holds for those objects of the same file that do not say otherwise;
// mappings in it are merged key by key, lists and values replaced.
//
// ${NAME} and ${NAME:-default} are asked of env, which may be nil where none may
// be read, as for files of strangers; $${ stands for ${.
//
// Files with nothing in them, comments aside, are an error: to delete everything
// takes an empty list.
//
// Decode checks forms only. See Validate for the rest. Where a form is wrong, what
// Validate finds elsewhere in the files is reported with it. Of more than a thousand
// mistakes the first are reported.
func Decode(env func(name string) (value string, set bool), files ...Source) (*File, error) {
	f := &File{Spec: new(routetable.Spec), objects: map[string][]*node{}}
	var problems routetable.Problems
	said := false
	for _, file := range files {
		root, ps := parse(file.Name, file.Data, env)
		problems = append(problems, ps...)
		if root == nil || root.shape == nothing {
			continue
		}
		said = true
		problems = append(problems, f.collect(root)...)
		problems = append(problems, includes(root, file.included)...)
	}
	if !said && len(problems) == 0 && len(files) > 0 { // it may be being written; as a source it would delete all that it owns
		problems = append(problems, routetable.Problem{File: files[0].Name, Line: 1, Column: 1, Message: "there is nothing in the file; routes: [] says that there are none"})
	}
	if problem, many := f.tooMany(); many {
		return f, append(problems, problem).Err()
	}
	var d decoder
	decodeList(&d, "upstreams", f.objects, &f.Spec.Upstreams)
	decodeList(&d, "routes", f.objects, &f.Spec.Routes)
	decodeList(&d, "limits", f.objects, &f.Spec.Limits)
	decodeList(&d, "tenants", f.objects, &f.Spec.Tenants)
	decodeList(&d, "access", f.objects, &f.Spec.Access)
	problems = append(problems, d.problems...)
	problems = append(problems, f.duplicates()...)
	if n := len(problems); n > 0 && n < maxTold {
		problems = append(problems, f.besides(problems)...)
	}
	return f, first(inOrder(unique(problems), files)).Err()
}

// tooMany reports that there are more objects than a table may have, and where the
// first of them too many is.
func (f *File) tooMany() (p routetable.Problem, many bool) {
	left := maxObjects
	for _, list := range objectLists() {
		if objects := f.objects[list]; len(objects) > left {
			return objects[left].problem(list, "more than %d objects in all", maxObjects), true
		}
		left -= len(f.objects[list])
	}
	return p, false
}

// objectLists are the lists of a route file.
func objectLists() []string { return []string{"upstreams", "routes", "limits", "tenants", "access"} }

// first is what is told of problems.
func first(problems routetable.Problems) routetable.Problems {
	if len(problems) <= maxTold {
		return problems
	}
	return append(problems[:maxTold], routetable.Problem{Message: fmt.Sprintf("more than %d mistakes, of which these are the first", maxTold)})
}

// besides finds the errors of single objects that do not follow from problems.
func (f *File) besides(problems routetable.Problems) (more routetable.Problems) {
	for _, p := range f.Validate().Errors() {
		follows := slices.ContainsFunc(problems, func(o routetable.Problem) bool {
			here := o.File == p.File && o.Line == p.Line && o.Column == p.Column
			return here || strings.HasPrefix(o.Path, p.Path) || strings.HasPrefix(p.Path, o.Path) && o.Path != ""
		})
		if !p.Between() && !follows {
			more = append(more, p)
		}
	}
	return more
}

// collect sorts the objects of one file's tree into their lists.
func (f *File) collect(root *node) routetable.Problems {
	var d decoder
	if root.shape != mapping {
		return routetable.Problems{root.problem("", "expected a mapping with upstreams, routes, limits, tenants and access, got %s", root.shape)}
	}
	lists := map[string]string{"upstreams": routetable.KindUpstream, "routes": routetable.KindRoute, "limits": routetable.KindLimit, "tenants": routetable.KindTenant, "access": routetable.KindAccess}
	defaults := d.defaults(root.get("defaults"))
	for i, k := range root.keys {
		value, kind := root.items[i], lists[k.text]
		switch {
		case k.text == "defaults", k.text == "include":
		case kind == "":
			d.report(k, nil, "unknown key %q%s", k.text, routetable.DidYouMean(k.text, map[string]struct{}{
				"upstreams": {}, "routes": {}, "limits": {}, "tenants": {}, "access": {}, "defaults": {}, "include": {},
			}))
		case value.shape == nothing:
		case value.shape != list:
			d.report(value, &path{key: k.text}, "expected a list, got %s", value.shape)
		default:
			for _, object := range value.items {
				f.objects[k.text] = append(f.objects[k.text], overlay(object, defaults[kind]))
			}
		}
	}
	return d.problems
}

// defaults checks the block of that name and returns its parts by kind.
func (d *decoder) defaults(block *node) map[string]*node {
	if block == nil || block.shape == nothing {
		return nil
	}
	if block.shape != mapping {
		d.report(block, &path{key: "defaults"}, "expected a mapping, got %s", block.shape)
		return nil
	}
	parts := map[string]*node{}
	for i, k := range block.keys {
		part, at := block.items[i], &path{&path{key: "defaults"}, k.text, 0}
		switch k.text {
		case routetable.KindUpstream:
			decodeDefaults(d, part, at, new(routetable.Upstream))
		case routetable.KindRoute:
			decodeDefaults(d, part, at, new(routetable.Route))
		case routetable.KindLimit:
			decodeDefaults(d, part, at, new(routetable.Limit))
		case routetable.KindTenant:
			decodeDefaults(d, part, at, new(routetable.Tenant))
		case routetable.KindAccess:
			decodeDefaults(d, part, at, new(routetable.Access))
		default:
			d.report(k, at, "unknown key %q: expected upstream, route, limit, tenant or access", k.text)
			continue
		}
		if part.shape == mapping {
			parts[k.text] = part
		}
	}
	return parts
}

func decodeDefaults[T any](d *decoder, part *node, at *path, into *T) {
	if name := part.get("name"); name != nil {
		d.report(name, &path{above: at, key: "name"}, "a name has no default")
	}
	d.value(part, at, valueOf(into))
}

// overlay returns n with what under says where n says nothing.
func overlay(n, under *node) *node {
	if under == nil || n.shape != mapping || under.shape != mapping {
		return n
	}
	out := *n
	out.branches = &branches{slices.Clone(n.keys), slices.Clone(n.items)}
	for i, k := range out.keys {
		out.items[i] = overlay(out.items[i], under.get(k.text))
	}
	for i, k := range under.keys {
		if n.get(k.text) == nil {
			out.keys, out.items = append(out.keys, k), append(out.items, under.items[i])
		}
	}
	return &out
}

// duplicates finds objects that are there twice and names both places.
func (f *File) duplicates() routetable.Problems {
	var problems routetable.Problems
	for _, list := range objectLists() {
		first := make(map[string]*node, len(f.objects[list]))
		for i, object := range f.objects[list] {
			name := object.get("name")
			if name == nil || name.shape != scalar {
				continue
			}
			if other := first[name.text]; other != nil && len(problems) <= maxTold {
				problems = append(problems, name.problem((&path{&path{&path{key: list}, "", i}, "name", 0}).String(), "%q is there already, at %s%d:%d", name.text, other.file.prefix(), other.line, other.column))
			} else {
				first[name.text] = name
			}
		}
	}
	return problems
}

// unique drops problems that were found twice, as those of defaults are with
// every object that takes them.
func unique(problems routetable.Problems) routetable.Problems {
	type place struct {
		file, message string
		line, column  int
	}
	seen := map[place]bool{}
	var out routetable.Problems
	for _, p := range problems {
		at := place{p.File, p.Message, p.Line, p.Column}
		if !seen[at] {
			out = append(out, p)
		}
		seen[at] = true
	}
	return out
}

// inOrder sorts problems as a reader of the files meets them.
func inOrder(problems routetable.Problems, files []Source) routetable.Problems {
	place := make(map[string]int, len(files))
	for i, f := range files {
		place[f.Name] = i
	}
	slices.SortStableFunc(problems, func(a, b routetable.Problem) int {
		return cmp.Or(cmp.Compare(place[a.File], place[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return problems
}

// Validate is Validate of the file's Spec, with places.
func (f *File) Validate() routetable.Problems { return f.Locate(routetable.Validate(f.Spec)) }

// Locate adds file, line, column and source line to problems whose paths are
// those of f.Spec. A field that is missing is placed where its object begins.
func (f *File) Locate(problems routetable.Problems) routetable.Problems {
	out := make(routetable.Problems, len(problems))
	for i, p := range problems {
		if n := f.find(p.Path); n != nil && p.File == "" {
			at := n.problem(p.Path, "")
			p.File, p.Line, p.Column, p.Source = at.File, at.Line, at.Column, at.Source
		}
		out[i] = p
	}
	return out
}

// find returns the node at a path such as routes[0].match[1].path, or the
// deepest one on the way to it.
func (f *File) find(path string) *node {
	head, rest, _ := strings.Cut(path, "]")
	kind, index, ok := strings.Cut(head, "[")
	i, err := strconv.Atoi(index)
	if !ok || err != nil || i >= len(f.objects[kind]) {
		return nil
	}
	n := f.objects[kind][i]
	for rest != "" {
		var next *node
		if rest[0] == '[' {
			index, after, _ := strings.Cut(rest[1:], "]")
			if i, err := strconv.Atoi(index); err == nil && i < len(n.items) {
				next, rest = n.items[i], after
			}
		} else {
			rest = strings.TrimPrefix(rest, ".")
			next, rest = n.longestKey(rest)
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// longestKey returns the value of the key that rest begins with. Keys of users,
// such as header names, may hold dots.
func (n *node) longestKey(rest string) (value *node, after string) {
	best := -1
	for i, k := range n.keys {
		tail, ok := strings.CutPrefix(rest, k.text)
		if ok && len(k.text) > best && (tail == "" || tail[0] == '.' || tail[0] == '[') {
			value, after, best = n.items[i], tail, len(k.text)
		}
	}
	return value, after
}
