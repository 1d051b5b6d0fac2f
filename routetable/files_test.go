package routetable_test

import (
	"os"
	"testing"

	"github.com/meshgw/meshgw/routetable/routefile"
)

func env(name string) (string, bool) {
	value, ok := map[string]string{"ENV": "prod", "EMPTY": "", "WEIGHT": "7"}[name]
	return value, ok
}

func file(text string) routefile.Source {
	return routefile.Source{Name: "f.yaml", Data: []byte(text)}
}

func fullFile(t *testing.T) *routefile.File {
	t.Helper()
	data, err := os.ReadFile("routefile/testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := routefile.Decode(env, routefile.Source{Name: "full.yaml", Data: data})
	if err != nil {
		t.Fatal(err)
	}
	if ps := f.Validate().Errors(); len(ps) > 0 {
		t.Fatal(ps)
	}
	return f
}
