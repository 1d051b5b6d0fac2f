package routefile

import (
	"encoding"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/meshgw/meshgw/routetable"
)

// decoder fills plain data from a tree and collects every error on the way.
type decoder struct {
	problems routetable.Problems
	fields   map[reflect.Type][]field
}

// field is one of a structure's.
type field struct {
	name     string // in a route file
	required bool
	positive bool // a number whose zero is the same as none
}

// path is where a value is, written out only where a mistake is.
type path struct {
	above *path
	key   string // of a mapping; empty in a list
	index int
}

func (p *path) String() string {
	switch {
	case p == nil:
		return ""
	case p.key == "":
		return p.above.String() + "[" + strconv.Itoa(p.index) + "]"
	case p.above == nil:
		return p.key
	}
	return p.above.String() + "." + p.key
}

func valueOf[T any](into *T) reflect.Value { return reflect.ValueOf(into).Elem() }

func decodeList[T any](d *decoder, name string, objects map[string][]*node, into *[]T) {
	if len(objects[name]) == 0 {
		return
	}
	*into = make([]T, len(objects[name]))
	for i, n := range objects[name] {
		d.value(n, &path{&path{key: name}, "", i}, reflect.ValueOf(into).Elem().Index(i))
	}
}

func (d *decoder) report(n *node, at *path, format string, args ...any) {
	if len(d.problems) <= maxTold {
		d.problems = append(d.problems, n.problem(at.String(), format, args...))
	}
}

// value decodes n into v.
func (d *decoder) value(n *node, at *path, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		if n.shape == nothing {
			d.report(n, at, "expected %s, got nothing", expected(v.Type().Elem()))
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		d.text(n, at, u)
		return
	}
	want := scalar
	switch v.Kind() {
	case reflect.Struct, reflect.Map:
		want = mapping
	case reflect.Slice:
		want = list
	}
	if n.shape != want {
		d.report(n, at, "expected %s, got %s", expected(v.Type()), n.shape)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, at, v)
	case reflect.Map:
		d.texts(n, at, v)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
		for i, item := range n.items {
			d.value(item, &path{at, "", i}, v.Index(i))
		}
	default:
		d.scalar(n, at, v)
	}
}

func (d *decoder) text(n *node, at *path, u encoding.TextUnmarshaler) {
	if n.shape != scalar {
		d.report(n, at, "expected a value, got %s", n.shape)
	} else if err := u.UnmarshalText([]byte(n.text)); err != nil {
		d.report(n, at, "%v, got %q", err, n.text)
	}
}

func (d *decoder) structure(n *node, at *path, v reflect.Value) {
	fields := d.fieldsOf(v.Type())
	for i, k := range n.keys {
		under := &path{above: at, key: k.text}
		f := slices.IndexFunc(fields, func(f field) bool { return f.name == k.text })
		if f < 0 {
			d.report(k, under, "unknown key %q%s", k.text, suggestion(k.text, fields))
			continue
		}
		mistakes := len(d.problems)
		d.value(n.items[i], under, v.Field(f))
		if fields[f].positive && v.Field(f).IsZero() && len(d.problems) == mistakes {
			d.report(n.items[i], under, "expected more than 0, or the key left out, got %q", n.items[i].text)
		}
	}
	for _, f := range fields {
		if f.required && n.get(f.name) == nil && !at.inDefaults() {
			d.report(n, at, "%s is missing", f.name)
		}
	}
}

// fieldsOf returns the fields of t in their order.
func (d *decoder) fieldsOf(t reflect.Type) []field {
	if fields, known := d.fields[t]; known {
		return fields
	}
	var fields []field
	for f := range t.Fields() {
		fields = append(fields, field{fieldName(f), required(f), isNumber(f.Type) && !required(f)})
	}
	if d.fields == nil {
		d.fields = map[reflect.Type][]field{}
	}
	d.fields[t] = fields
	return fields
}

func (p *path) inDefaults() bool { return strings.HasPrefix(p.String(), "defaults.") }

// takesPlaceholders reports whether p is the value of a header or the text of an
// error page.
func (p *path) takesPlaceholders() bool {
	at := p.String()
	return strings.Contains(at, "_headers.set.") || strings.Contains(at, "_headers.add.") ||
		strings.Contains(at, "error_pages[") && strings.HasSuffix(at, ".body")
}

// fieldName is the name of a field in a route file.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// required reports whether a field must be written.
func required(f reflect.StructField) bool {
	return !strings.Contains(f.Tag.Get("json"), ",omit")
}

// isNumber reports whether t is a number or a length of time, and no pointer to one.
func isNumber(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Float64:
		return true
	}
	return false
}

func suggestion(key string, fields []field) string {
	known := make(map[string]struct{}, len(fields))
	for _, f := range fields {
		known[f.name] = struct{}{}
	}
	if hint := routetable.DidYouMean(key, known); hint != "" || len(known) == 0 {
		return hint
	}
	return ": expected one of " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

func (d *decoder) texts(n *node, at *path, v reflect.Value) {
	m := reflect.MakeMap(v.Type())
	for i, k := range n.keys {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(n.items[i], &path{above: at, key: k.text}, value)
		m.SetMapIndex(reflect.ValueOf(k.text), value)
	}
	v.Set(m)
}

func (d *decoder) scalar(n *node, at *path, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.SetString(n.text); n.placeholders && !at.takesPlaceholders() {
			d.report(n, at, "placeholders such as ${request.id} are for header values and error pages; $${ stands for ${ itself")
		}
		return
	case reflect.Bool:
		if !n.quoted && (n.text == "true" || n.text == "false") {
			v.SetBool(n.text == "true")
			return
		}
	case reflect.Int, reflect.Int64:
		if x, err := strconv.ParseInt(n.text, 10, 64); err == nil && !n.quoted {
			v.SetInt(x)
			return
		}
	case reflect.Float64:
		if x, err := strconv.ParseFloat(n.text, 64); err == nil && !n.quoted && !math.IsNaN(x) && !math.IsInf(x, 0) {
			v.SetFloat(x)
			return
		}
	}
	d.report(n, at, "expected %s, got %q", expected(v.Type()), n.text)
}

// expected says what a field of type t takes.
func expected(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[routetable.Duration]():
		return "a duration"
	case reflect.TypeFor[routetable.Bytes]():
		return "a size"
	case reflect.TypeFor[routetable.Rate]():
		return "a rate"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a mapping"
	}
	return "a value"
}
