package routetable_test

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

func TestTheExamplesOfTheDocsAreValid(t *testing.T) {
	t.Parallel()
	for path, least := range map[string]int{"../docs/routes.md": 4, "../docs/services.md": 1} {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var examples []routefile.Source
		for i, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllSubmatch(page, -1) {
			examples = append(examples, routefile.Source{Name: fmt.Sprintf("%s, example %d", path, i+1), Data: block[1]})
		}
		if len(examples) < least {
			t.Errorf("%s: found %d examples", path, len(examples))
		}
		file, err := routefile.Decode(func(string) (string, bool) { return "", false }, examples...)
		if err != nil {
			t.Fatal(err)
		}
		if problems := file.Validate().Errors(); len(problems) > 0 {
			t.Error(problems)
		}
	}
}

// keysBegin and keysEnd enclose the part of docs/reference.md that is made here.
const (
	keysBegin = "<!-- made from the code by go test ./routetable -run Reference -update -->\n"
	keysEnd   = "<!-- end of what is made from the code -->\n"
)

func TestTheReferenceHasEveryKeyOfARouteFile(t *testing.T) {
	t.Parallel()
	const path = "../docs/reference.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, begins := bytes.Cut(page, []byte(keysBegin))
	_, tail, ends := bytes.Cut(rest, []byte(keysEnd))
	if !begins || !ends {
		t.Fatal("no place for the keys")
	}
	keys := keyTables(commentsOf(t, "spec.go"))
	want := bytes.Join([][]byte{head, []byte(keysBegin), []byte(keys), []byte(keysEnd), tail}, nil)
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		page = want
	}
	if !bytes.Equal(page, want) {
		t.Errorf("%s lacks keys: go test ./routetable -run Reference -update", path)
	}
}

// keyTables lists every key that a route file can hold, a table for each type,
// in the order in which they are met.
func keyTables(comments map[string]string) string {
	var b strings.Builder
	seen := map[reflect.Type]bool{}
	queue := []reflect.Type{
		reflect.TypeFor[routetable.Upstream](), reflect.TypeFor[routetable.Route](),
		reflect.TypeFor[routetable.Limit](), reflect.TypeFor[routetable.Tenant](), reflect.TypeFor[routetable.Access](),
	}
	for len(queue) > 0 {
		typ := queue[0]
		queue = queue[1:]
		if seen[typ] {
			continue
		}
		seen[typ] = true
		about := strings.TrimPrefix(comments[typ.Name()], typ.Name()+" ")
		fmt.Fprintf(&b, "\n### %s\n\n%s %s\n\n| key | value | |\n| --- | --- | --- |\n", typ.Name(), typ.Name(), about)
		for f := range typ.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			kind, inner := valueOf(f.Type)
			note := comments[typ.Name()+"."+f.Name]
			if options == "" {
				note = strings.TrimSuffix("required; "+note, "; ")
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, kind, note)
			if inner != nil {
				queue = append(queue, inner)
			}
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// valueOf says what a key takes, and which type of its own that has.
func valueOf(t reflect.Type) (text string, inner reflect.Type) {
	switch t {
	case reflect.TypeFor[routetable.Duration]():
		return "duration", nil
	case reflect.TypeFor[routetable.Bytes]():
		return "size", nil
	case reflect.TypeFor[routetable.Rate]():
		return "rate", nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return valueOf(t.Elem())
	case reflect.Slice:
		text, inner = valueOf(t.Elem())
		return "list of " + text, inner
	case reflect.Map:
		return "mapping of names to text", nil
	case reflect.Struct:
		if t.Name() == "" {
			return "`{}`", nil
		}
		return "[" + t.Name() + "](#" + strings.ToLower(t.Name()) + ")", t
	case reflect.String:
		return "text", nil
	case reflect.Bool:
		return "true or false", nil
	case reflect.Float64:
		return "number", nil
	}
	return "whole number", nil
}
