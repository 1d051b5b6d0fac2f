package auth_test

import (
	"strings"
	"testing"

	"github.com/meshgw/meshgw/auth"
)

// ofReference was made by the reference program: echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -e
const ofReference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

func TestArgon2idIsReadAsTheReferenceWritesIt(t *testing.T) {
	var u auth.Users
	u.Set(passwords(t, "ann:"+ofReference, "bob:"+hash(t, "apple")), [32]byte{1})
	for _, c := range []struct {
		name, password string
		right          bool
	}{{"ann", "password", true}, {"ann", "Password", false}, {"ann", "", false}, {"bob", "apple", true}, {"bob", "password", false}, {"eve", "password", false}} {
		if got := u.Check(login(c.name, c.password)); got != c.right {
			t.Errorf("%s, %q: %v", c.name, c.password, got)
		}
	}
	if u.Recall(login("ann", "password")) != auth.Admitted || u.Recall(login("ann", "")) != auth.Refused {
		t.Error("what was found is not remembered")
	}
}

func TestHashesOfArgonThatAreRefused(t *testing.T) {
	for change, why := range map[string]string{
		"m=65536,t=2,p=1>m=65537,t=2,p=1":                "cost",
		"m=65536,t=2,p=1>m=65536,t=11,p=1":               "cost",
		"m=65536,t=2,p=1>m=65536,t=2,p=5":                "cost",
		"m=65536,t=2,p=1>m=7,t=2,p=1":                    "hash",
		"m=65536,t=2,p=1>m=65536,t=0,p=1":                "hash",
		"m=65536,t=2,p=1>m=65536,t=2,p=0":                "hash",
		"m=65536,t=2,p=1>m=65536,t=2,p=1,x=1":            "hash",
		"m=65536,t=2,p=1>m=065536,t=2,p=1":               "hash",
		"m=65536,t=2,p=1>m=99999999999,t=2,p=1":          "hash",
		"v=19>v=16":                                      "hash",
		"argon2id>argon2i":                               "hash",
		"$c29tZXNhbHQ$>$$":                               "hash",
		"$c29tZXNhbHQ$>$c29tZQ==$":                       "hash",
		"CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc>":   "hash",
		"CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc>AA": "hash",
	} {
		from, to, _ := strings.Cut(change, ">")
		text := strings.Replace(ofReference, from, to, 1)
		_, err := auth.ParsePasswords([]byte("ann:" + text + "\n"))
		if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "c29tZXNhbHQ") {
			t.Errorf("%s: got %v, want a word about its %s", change, err, why)
		}
	}
}

func FuzzParsePasswords(f *testing.F) {
	f.Add([]byte("ann:" + ofReference + "\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = auth.ParsePasswords(data) // returns, and asks for no memory that the text does not have
	})
}
