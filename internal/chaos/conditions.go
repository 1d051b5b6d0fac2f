package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meshgw/meshgw/api"
)

// condition is something that can be said of the mesh. holds returns nil, or why
// it does not hold.
type condition struct {
	usage, about string
	holds        func(*world, []string) error
}

func (c condition) String() string { return fmt.Sprintf("%-58s %s", c.usage, c.about) }

func conditions() map[string]condition {
	return map[string]condition{
		"whole":  {"whole NODE...", "each sees exactly these alive", (*world).whole},
		"equal":  {"equal NODE...", "all serve the same table", (*world).equal},
		"serves": {"serves PATH STATUS NODE...", "each answers so", (*world).serves},
		"out":    {"out ENDPOINT... at NODE...", "none of the nodes that are not frozen uses them", (*world).isOut},
		"usable": {"usable ENDPOINT... at NODE...", "all of the nodes do", (*world).isUsable},
		"metric": {"metric NODE NAME{LABELS} OP N", "the sum of what begins so; OP is <=, >= or ==", (*world).metric},
		"log":    {"log NODE TEXT", "a line of its log has it", (*world).logged},
		"ended":  {"ended NODE CODE", "the process, with that exit code", (*world).hasEnded},
		"knows":  {"knows NODE OTHER TEXT", "what it tells of the other has it", (*world).knows},
		"load":   {"load NAME FIGURE OP N", "sent, failed, p50, p99, slowest, by:ENDPOINT, answer:STATUS, since the last count", (*world).loadIs},
	}
}

// judge reports why a condition does not hold.
func (w *world) judge(words []string) error {
	turned := words[0] == "not"
	if turned {
		words = words[1:]
	}
	err := conditions()[words[0]].holds(w, words[1:])
	if turned && err == nil {
		return errors.New("it does")
	}
	if turned {
		return nil
	}
	return err
}

const look = 50 * time.Millisecond // between two judgements

func (w *world) within(words []string) error {
	limit, err := time.ParseDuration(words[0])
	if err != nil {
		return err
	}
	limit = w.script.bound(limit)
	began := time.Now()
	for {
		err := w.judge(words[1:])
		took := time.Since(began)
		switch {
		case err == nil:
			w.measured("so after %v", took.Round(time.Millisecond))
			return nil
		case took > limit:
			return fmt.Errorf("not within %v: %w", limit, err)
		case w.ctx.Err() != nil:
			return w.ctx.Err()
		}
		time.Sleep(look)
	}
}

func (w *world) always(words []string) error {
	length, err := time.ParseDuration(words[0])
	if err != nil {
		return err
	}
	for began := time.Now(); time.Since(began) < length && w.ctx.Err() == nil; time.Sleep(look) {
		if err := w.judge(words[1:]); err != nil {
			return fmt.Errorf("not after %v: %w", time.Since(began).Round(time.Millisecond), err)
		}
	}
	return nil
}

func (w *world) require(words []string) error { return w.judge(words) }

func (w *world) whole(names []string) error {
	return w.each(names, func(m *machine) error {
		s, err := w.status(m)
		if err != nil {
			return err
		}
		var alive []string
		for _, other := range s.Members {
			if other.Status == api.MemberAlive {
				alive = append(alive, other.Name)
			}
		}
		want := slices.Sorted(slices.Values(names))
		if slices.Sort(alive); !slices.Equal(alive, want) {
			return fmt.Errorf("%s sees %v alive", m.name, alive)
		}
		return nil
	})
}

func (w *world) equal(names []string) error {
	var first string
	return w.each(names, func(m *machine) error {
		s, err := w.status(m)
		if err != nil {
			return err
		}
		table := fmt.Sprintf("%d-%.12s", s.Routes.Version, s.Routes.Digest)
		if first == "" {
			first = table
		}
		if table != first {
			return fmt.Errorf("%s serves %s, %s serves %s", m.name, table, names[0], first)
		}
		return nil
	})
}

func (w *world) serves(words []string) error {
	if len(words) < 3 {
		return errors.New("want a path, a status and nodes")
	}
	return w.each(words[2:], func(m *machine) error {
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + m.http() + words[0])
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if strconv.Itoa(resp.StatusCode) != words[1] {
			return fmt.Errorf("%s answers %s %s", m.name, resp.Status, resp.Header.Get("X-Meshgw-Error"))
		}
		return nil
	})
}

func (w *world) isOut(words []string) error    { return w.endpointsAre(false, words) }
func (w *world) isUsable(words []string) error { return w.endpointsAre(true, words) }

func (w *world) endpointsAre(usable bool, words []string) error {
	at := slices.Index(words, "at")
	if at < 1 {
		return errors.New("want ENDPOINTS at NODES")
	}
	urls := map[string]string{}
	err := w.each(words[:at], func(m *machine) error { urls["http://"+m.http()] = m.name; return nil })
	return errors.Join(err, w.each(words[at+1:], func(m *machine) error {
		if m.frozen {
			return nil
		}
		s, err := w.status(m)
		if err != nil {
			return err
		}
		for _, u := range s.Upstreams {
			for _, e := range u.Endpoints {
				if name := urls[e.URL]; name != "" && e.Healthy != usable {
					return fmt.Errorf("%s is %s at %s", name, e.State, m.name)
				}
			}
		}
		return nil
	}))
}

func (w *world) metric(words []string) error {
	if len(words) != 4 {
		return errors.New("want NODE NAME OP N")
	}
	return w.each(words[:1], func(m *machine) error {
		sum, err := w.sample(m, words[1])
		if err != nil {
			return err
		}
		return compare(sum, words[2], words[3])
	})
}

// sample adds up the samples of a node whose line begins with prefix.
func (w *world) sample(m *machine, prefix string) (sum float64, err error) {
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "http://"+m.ip+":"+adminPort+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if !bytes.HasPrefix(line, []byte(prefix)) {
			continue
		}
		n, err := strconv.ParseFloat(string(line[bytes.LastIndexByte(line, ' ')+1:]), 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func (w *world) logged(words []string) error {
	return w.each(words[:1], func(m *machine) error { return m.told(strings.Join(words[1:], " ")) })
}

func (w *world) knows(words []string) error {
	if len(words) < 3 {
		return errors.New("want NODE OTHER TEXT")
	}
	return w.each(words[:1], func(m *machine) error {
		ctx, cancel := context.WithTimeout(w.ctx, 2*time.Second)
		defer cancel()
		mesh, err := m.admin.Mesh(ctx)
		if err != nil {
			return err
		}
		for _, other := range mesh.Members {
			if other.Node.Name == words[1] && strings.Contains(fmt.Sprintf("%+v", other), strings.Join(words[2:], " ")) {
				return nil
			}
		}
		return fmt.Errorf("%s does not", m.name)
	})
}

func (w *world) hasEnded(words []string) error {
	if len(words) != 2 {
		return errors.New("want a node and an exit code")
	}
	return w.each(words[:1], func(m *machine) error {
		code, err := m.exitCode()
		if err == nil && strconv.Itoa(code) != words[1] {
			err = fmt.Errorf("exit code %d", code)
		}
		return err
	})
}

func (w *world) loadIs(words []string) error {
	if len(words) != 4 || w.loads[words[0]] == nil {
		return errors.New("want LOAD FIGURE OP N")
	}
	c := w.loads[words[0]].soFar()
	got, err := c.figure(words[1])
	if err != nil {
		return err
	}
	w.measured("%v", c)
	return compare(got, words[2], words[3])
}

// compare holds a figure to a bound: a number, or a duration in seconds.
func compare(got float64, op, bound string) error {
	want, err := strconv.ParseFloat(bound, 64)
	if d, bad := time.ParseDuration(bound); bad == nil {
		want, err = d.Seconds(), nil
	}
	if err != nil {
		return err
	}
	holds := map[string]bool{"<=": got <= want, ">=": got >= want, "==": got == want}
	if ok, known := holds[op]; !known {
		return fmt.Errorf("unknown comparison %q", op)
	} else if !ok {
		return fmt.Errorf("it is %v", got)
	}
	return nil
}
