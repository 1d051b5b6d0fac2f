package main

import (
	"strings"
	"testing"
	"time"
)

func TestEveryScenarioParses(t *testing.T) {
	const dir = "../../scripts/chaos.d"
	names, err := scenarios(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		s, err := readScript(dir, name)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.about == "" || len(s.steps) == 0 {
			t.Errorf("%s says nothing, or does nothing", name)
		}
	}
}

func TestASoakIsMadeOfStepsThatThereAre(t *testing.T) {
	known := verbs()
	for seed := range uint64(50) {
		s := soak(10*time.Minute, seed)
		for _, st := range s.steps {
			if len(st.words) == 0 {
				continue
			}
			if err := st.check(known); err != nil {
				t.Fatalf("seed %d: %s: %v", seed, st.text, err)
			}
		}
	}
}

func TestAScriptIsRefusedWhereItsLinesAre(t *testing.T) {
	for text, want := range map[string]string{
		"node a\n":                         "x:1: want a remark",
		"# about\nnode a\nexplode a\n":     `x:3: unknown step "explode"`,
		"# about\nwithin 5s hole a\n":      `x:2: unknown condition "hole"`,
		"# about\nrequire not whole a b\n": "",
		"# about\nwithin\n":                "x:2: want within D CONDITION",
	} {
		_, err := parseScript("x", []byte(text))
		if got := errorText(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestComparingTakesNumbersAndDurations(t *testing.T) {
	for _, c := range []struct {
		got       float64
		op, bound string
		want      bool
	}{
		{3, "<=", "3", true},
		{4, "<=", "3", false},
		{0.5, "<=", "500ms", true},
		{0.6, "<=", "500ms", false},
		{2, ">=", "1", true},
		{0, ">=", "1", false},
		{1, "==", "1", true},
		{1, "<", "2", false},
		{1, "<=", "much", false},
	} {
		if err := compare(c.got, c.op, c.bound); (err == nil) != c.want {
			t.Errorf("%v %s %s: %v", c.got, c.op, c.bound, err)
		}
	}
}
