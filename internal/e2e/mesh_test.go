package e2e

import (
	"strings"
	"testing"
	"time"
)

func TestThreeNodesStartedAtOnceFormAMesh(t *testing.T) {
	w := newWorld(t)
	a := w.start("a", "--region", "us")
	b := w.launch("b", "--region", "eu", "--join", a.listen.Gossip)
	c := w.launch("c", "--region", "apac", "--join", a.listen.Gossip)
	b.waitReady()
	c.waitReady()
	allSee(t, 10*time.Second, a, b, c)

	s, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	if s.Node.State != "serving" || s.Node.Region != "us" || len(s.Members) != 3 {
		t.Errorf("status: %+v", s)
	}
	eventually(t, 5*time.Second, "a knows c's word", func() error { return knows(a, "c", "apac") })
}

func TestTheSeedKilledComesBackAtAnotherPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start("a")
	b := w.start("b", "--join", a.listen.Gossip)
	c := w.start("c", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b, c)
	a.kill()
	// At once, so that the others still believe the old address alive; its own
	// peers file is its only way back.
	a = w.start("a")
	allSee(t, 15*time.Second, a, b, c)
}

func TestANodeStartedBeforeItsSeedJoinsWhenItComes(t *testing.T) {
	w := newWorld(t)
	seed := freePort(t)
	b := w.start("b", "--join", seed)
	if err := b.sees("b"); err != nil {
		t.Error(err)
	}
	a := w.start("a", "--bind", seed)
	allSee(t, 10*time.Second, a, b)
}

func TestStartIsSoonAndIdleIsSmall(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	t.Logf("ready after %v", a.took)
	if a.took > 10*time.Second { // 1 s on a machine that has nothing else to do
		t.Errorf("ready after %v", a.took)
	}
	time.Sleep(time.Second)
	rss := residentMiB(t, a.cmd.Process.Pid)
	t.Logf("idle: %d MiB resident", rss)
	if rss > 40 && !raced {
		t.Errorf("idle node holds %d MiB, want at most 40", rss)
	}
}

func TestANameInUseIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	b := w.start("b", "--join", a.listen.Gossip)
	allSee(t, 10*time.Second, a, b)
	impostor := w.launch("b", "--data-dir", t.TempDir(), "--ready-file", w.dir+"/impostor", "--join", a.listen.Gossip)
	if code := impostor.end(20 * time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if log := impostor.log.String(); !strings.Contains(log, "node name in use") {
		t.Errorf("it does not say why:\n%s", log)
	}
	allSee(t, time.Second, a, b)
}

func TestWhatCannotWorkIsSaidAtStart(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"port taken":      {[]string{"--http", a.listen.HTTP}, "listen for http"},
		"gossip taken":    {[]string{"--bind", a.listen.Gossip}, "listen for gossip"},
		"admin taken":     {[]string{"--admin", a.listen.Admin}, "listen for admin"},
		"data dir in use": {[]string{"--data-dir", w.dir + "/a"}, "in use by another meshgw process"},
		"data dir a file": {[]string{"--data-dir", w.keyring}, "data dir"},
		"no such routes":  {[]string{"--routes", w.dir + "/absent.yaml"}, "absent.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.launch("x-"+strings.ReplaceAll(name, " ", "-"), tt.args...)
			if code := p.end(10 * time.Second); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if log := p.log.String(); !strings.Contains(log, tt.want) {
				t.Errorf("says %q, want %q", log, tt.want)
			}
		})
	}
}

func TestAWrongKeyServesAloneAndSaysSo(t *testing.T) {
	w := newWorld(t)
	a := w.start("a")
	other := newWorld(t)
	stranger := w.start("b", "--keyring", other.keyring, "--join", a.listen.Gossip)
	eventually(t, 10*time.Second, "it says so", func() error { return logged(stranger, "does not know our gossip key") })
	for _, p := range []*process{a, stranger} {
		if err := p.sees(p.name); err != nil {
			t.Error(err)
		}
	}
}
