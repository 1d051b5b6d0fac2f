package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const (
	demoNodesPerRegion = 2
	demoFormWithin     = 20 * time.Second // all see all and hold the table; on a busy machine too
	demoLook           = 100 * time.Millisecond
)

func demoRegions() []string { return []string{"us", "eu", "apac"} }

func demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole mesh on this machine: three regions, upstreams and load",
		Long: `demo starts two nodes in each of three regions as processes of their own, two
upstreams per region, and a steady load, all on free ports of loopback. It prints
the state of the mesh as it goes, and ends with --for or by Ctrl-C, leaving
nothing behind. It exits 1 where the mesh did not form or a request failed.`,
		Example: "  meshgw demo\n  meshgw demo --for 30s --rate 500",
		Args:    noArgs,
	}
	d := demo{}
	cmd.Flags().DurationVar(&d.length, "for", 0, "end after `D`; 0 = by Ctrl-C")
	cmd.Flags().DurationVar(&d.every, "every", 2*time.Second, "print the state every `D`")
	cmd.Flags().IntVar(&d.rate, "rate", 120, "requests per second over the whole mesh")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if d.rate < 1 || d.every <= 0 || d.length < 0 {
			return fmt.Errorf("%w: want --rate of 1 at least, --every above 0 and no negative --for", errUsage)
		}
		d.out = cmd.OutOrStdout()
		return d.run(cmd.Context())
	}
	return cmd
}

// demo is one mesh on one machine, from start to end.
type demo struct {
	length time.Duration
	every  time.Duration
	rate   int
	out    io.Writer

	dir   string
	nodes []*demoNode
	load  *demoLoad
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "meshgw-demo-"); err != nil {
		return fmt.Errorf("make demo directory: %w", err)
	}
	defer os.RemoveAll(d.dir) //nolint:errcheck // what cannot be removed is in the system's temporary directory
	upstreams, err := startUpstreams()
	if err != nil {
		return err
	}
	defer upstreams.close()
	defer d.stop()
	err = d.start(ctx, upstreams)
	if err == nil {
		err = d.form(ctx)
	}
	if ctx.Err() != nil {
		return nil // told to stop before there was anything to see
	}
	if err != nil {
		return fmt.Errorf("%w%s", err, d.complaints())
	}
	d.welcome()
	return d.drive(ctx)
}

// start starts the nodes: the first alone, the others with it as their seed.
func (d *demo) start(ctx context.Context, upstreams *demoUpstreams) error {
	routes := filepath.Join(d.dir, "routes.yaml")
	if err := os.WriteFile(routes, upstreams.routeFile(), 0o600); err != nil {
		return fmt.Errorf("write route file: %w", err)
	}
	if err := writeKeyring(filepath.Join(d.dir, "keyring.json")); err != nil {
		return err
	}
	ca, caKey := filepath.Join(d.dir, "ca.pem"), filepath.Join(d.dir, "ca-key.pem")
	if err := makeCA(demoCertificates, ca, caKey); err != nil {
		return err
	}
	issuer, err := tls.LoadX509KeyPair(ca, caKey)
	if err != nil {
		return fmt.Errorf("load CA: %w", err)
	}
	seed := ""
	for i := range demoNodesPerRegion {
		for _, region := range demoRegions() {
			n := &demoNode{name: fmt.Sprintf("%s-%d", region, i+1), region: region, dir: d.dir}
			if err := makeNodeCertificate(n.name, &issuer, demoCertificates, n.path(".pem"), n.path("-key.pem")); err != nil {
				return err
			}
			if err := n.start(routes, seed); err != nil {
				return err
			}
			d.nodes = append(d.nodes, n)
			if seed != "" {
				continue
			}
			if err := n.await(ctx); err != nil {
				return err
			}
			seed = n.listen.Gossip
		}
	}
	for _, n := range d.nodes {
		if err := n.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// form waits until every node sees every node and all hold one table.
func (d *demo) form(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoFormWithin)
	defer cancel()
	for {
		formed, why := true, ""
		for _, n := range d.nodes {
			s, err := n.client.Status(ctx)
			if err != nil {
				formed, why = false, err.Error()
			} else if w := s.Held("all", 1); w.Held != len(d.nodes) || len(s.Drift.Nodes) > 0 {
				formed, why = false, fmt.Sprintf("%s sees %d of %d nodes with the table", n.name, w.Held, len(d.nodes))
			}
		}
		if formed {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the mesh did not form in %s: %s", demoFormWithin, why)
		case <-time.After(demoLook):
		}
	}
}

func (d *demo) welcome() {
	first := d.nodes[0]
	say(d.out, `A mesh of %d nodes in %d regions serves.

status page  http://%s/
status       meshgw status --watch --admin %s
a request    curl -i http://%s/

`, len(d.nodes), len(demoRegions()), first.listen.Admin, first.listen.Admin, first.listen.HTTP)
}

// drive puts the load on and prints, until the time is over or ctx is done.
func (d *demo) drive(ctx context.Context) error {
	if d.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.length)
		defer cancel()
	}
	d.load = newDemoLoad(d.nodes)
	loaded := make(chan struct{})
	go func() { defer close(loaded); d.load.run(ctx, d.rate) }()
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.print(ctx)
		case <-loaded:
			return d.verdict()
		}
	}
}

func (d *demo) print(ctx context.Context) {
	t := tabwriter.NewWriter(d.out, 0, 4, 2, ' ', 0)
	say(t, "NODE\tREGION\tSTATE\tSEES\tROUTES\tREQUESTS/S\tERRORS\tP50\tSERVED BY\n")
	for i, n := range d.nodes {
		s, err := n.client.Status(ctx)
		if ctx.Err() != nil {
			return
		}
		state := s.Node.State
		if err != nil {
			state = "unreachable"
		}
		w := d.load.windows[i].take()
		say(t, "%s\t%s\t%s\t%d\t%d\t%.0f\t%d\t%s\t%s\n", n.name, n.region, state, s.Held("all", 0).Held, s.Routes.Version,
			float64(w.requests)/d.every.Seconds(), w.errors, w.p50().Round(10*time.Microsecond), w.regions())
	}
	say(t, "\n")
	_ = t.Flush()
}

func (d *demo) verdict() error {
	requests, failed, example := d.load.total()
	say(d.out, "%d requests, %d failed\n", requests, failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d requests failed, one with: %w", failed, requests, example)
	}
	if requests == 0 {
		return errors.New("no request was made")
	}
	return nil
}

// stop ends all nodes at once and waits for them.
func (d *demo) stop() {
	for _, n := range d.nodes {
		n.terminate()
	}
	for _, n := range d.nodes {
		n.wait()
	}
}

// complaints is what the nodes logged, for the message about what went wrong.
func (d *demo) complaints() string {
	var b strings.Builder
	for _, n := range d.nodes {
		if text := n.lastWords(); text != "" {
			b.WriteString("\n" + n.name + ": " + text)
		}
	}
	return b.String()
}
