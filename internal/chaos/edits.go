package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/meshgw/meshgw/api"
)

// edits changes a route again and again at one node, and measures until all of
// the others serve each change.
func (w *world) edits(words []string) error {
	a := parseArgs(words)
	if len(a.names) != 1 {
		return errors.New("want a number")
	}
	n, err := strconv.Atoi(a.names[0])
	at, noAt := w.find(a.options["at"])
	to, noTo := w.find(strings.Split(a.options["to"], ",")...)
	if err := errors.Join(err, noAt, noTo); err != nil {
		return err
	}
	var took []time.Duration
	for i := range n {
		d, err := w.edit(at[0], to, fmt.Sprintf("%s-%d", at[0].name, i))
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	slices.Sort(took)
	p99 := took[(99*n+99)/100-1] // of a hundred, one may take longer
	w.measured("%d edits, served by all after %v p50, %v p99, %v at most", n, took[n/2].Round(time.Millisecond), p99.Round(time.Millisecond), took[n-1].Round(time.Millisecond))
	if bound := a.options["p99"]; bound != "" {
		return compare(p99.Seconds(), "<=", bound)
	}
	return nil
}

// edit applies a table with a mark in it and returns how long it takes from the
// answer until all serve it.
func (w *world) edit(at *machine, to []*machine, mark string) (time.Duration, error) {
	doc := fmt.Sprintf("routes:\n  - {name: mark-%s, match: [{path: /mark/%s}], respond: {status: 200, body: %q}}\n", at.name, at.name, mark)
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	if _, err := at.admin.Apply(ctx, []byte(doc), api.ApplyOptions{}); err != nil {
		return 0, err
	}
	began := time.Now()
	errs := make([]error, len(to))
	var waits sync.WaitGroup
	for i, m := range to {
		waits.Go(func() { errs[i] = awaitBody(ctx, "http://"+m.http()+"/mark/"+at.name, mark) })
	}
	waits.Wait()
	return time.Since(began), errors.Join(errs...)
}

func awaitBody(ctx context.Context, url, want string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil && string(body) == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not say %s in time", url, want)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
