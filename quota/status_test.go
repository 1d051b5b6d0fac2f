package quota_test

import (
	"testing"
	"time"
)

func TestStatusTellsWhoUsesAKey(t *testing.T) {
	l := rate("l", 100, 100)
	m := newMesh(t, 3, l)
	a := ask(l, "acme")
	home, user := m.home(a), m.stranger(a)
	m.load(2*time.Second, only(user, 50), a)
	for s := range m.engines[user].Keys(m.now) {
		if s.Key != a.Key || int(s.Home)-1 != home || !s.Leased || s.Mode != "normal" || s.Demand < 20 || s.Admitted < 50 {
			t.Errorf("%+v", s)
		}
	}
	seen := 0
	for s := range m.engines[home].Homes(m.now) {
		seen++
		if s.Key != a.Key || len(s.Users) != 1 || int(s.Users[0].Node)-1 != user || s.Users[0].Rate == 0 || s.Charged < 50 {
			t.Errorf("%+v", s)
		}
	}
	if seen != 1 {
		t.Errorf("home of %d keys", seen)
	}
}
