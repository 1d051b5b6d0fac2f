package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show a node, its peers, their tables, upstreams and load",
		Long:    "status --drift shows the nodes whose table is not the newest, since when and why, and exits 1 where there are any.",
		Example: "  meshgw status\n  meshgw status --watch\n  meshgw status --drift\n  meshgw status -o json --admin http://127.0.0.1:9902",
		Args:    noArgs,
	}
	t := addTarget(cmd)
	output := addOutput(cmd, "text", "json")
	watch := cmd.Flags().Bool("watch", false, "refresh every --interval until interrupted")
	interval := cmd.Flags().Duration("interval", time.Second, "between two refreshes of --watch")
	drift := cmd.Flags().Bool("drift", false, "show only which nodes lag")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *drift && *watch {
			return fmt.Errorf("%w: --drift looks once, --watch shows drift too", errUsage)
		}
		client, err := t.client()
		if err != nil {
			return err
		}
		if *drift {
			return showDrift(cmd.Context(), cmd.OutOrStdout(), client, output.value)
		}
		show := func(w io.Writer) error { return showStatus(cmd.Context(), w, client, output.value) }
		if !*watch {
			return show(cmd.OutOrStdout())
		}
		return redraw(cmd.Context(), cmd.OutOrStdout(), max(*interval, 100*time.Millisecond), show)
	}
	return cmd
}

func showStatus(ctx context.Context, w io.Writer, client *api.Client, format string) error {
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if format == "json" {
		return printJSON(w, status)
	}
	mesh, err := client.Mesh(ctx)
	if err != nil {
		return err
	}
	return printStatus(w, status, mesh)
}

// redraw shows again and again until ctx is done, which is how it is meant to
// end. A node that goes away is no reason to stop looking for it.
func redraw(ctx context.Context, w io.Writer, every time.Duration, show func(io.Writer) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for first := true; ; first = false {
		var b strings.Builder
		if isTerminal(w) {
			b.WriteString("\x1b[H\x1b[2J")
		}
		switch err := show(&b); {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil:
			say(&b, "%v\n", err)
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func printStatus(w io.Writer, s api.Status, m api.Mesh) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	say(t, "%s\t%s, region %s, weight %d, meshgw %s, up since %s\n", s.Node.Name, s.Node.State, s.Node.Region, s.Node.Weight, s.Node.Version, s.Node.StartedAt.Local().Format(time.DateTime))
	say(t, "listen\t%s\n", listens(s.Listen))
	say(t, "routes\tversion %d %s, %d conflicts, %d pending\n", s.Routes.Version, short(s.Routes.Digest), s.Routes.Conflicts, len(s.Routes.Pending))
	say(t, "load\tcpu %.0f %%, %d in flight, %.0f requests/s\n", 100*s.Load.CPU, s.Load.Inflight, s.Load.RPS)
	if s.Isolated {
		say(t, "ISOLATED\tthis node sees less than half of the mesh that it saw lately\n")
	}
	for _, p := range s.Routes.Pending {
		what := p.Kind + " " + p.Name
		if p.Kind == "file" && strings.Contains(p.Reason, p.Name) {
			what = p.Kind // its mistakes are told with it
		}
		say(t, "pending\t%s: %s\n", what, p.Reason)
	}
	say(t, "\nMEMBER\tSTATUS\tSTATE\tREGION\tWEIGHT\tADDRESS\tRTT\tROUTES\tDIGEST\tCPU\tRPS\n")
	for _, n := range m.Members {
		say(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\t%.0f %%\t%.0f\n", n.Node.Name, n.Status, orDash(n.Node.State), orDash(n.Node.Region), n.Node.Weight,
			n.Address, millis(n.RTTMillis), n.Routes.Version, short(n.Routes.Digest), 100*n.Load.CPU, n.Load.RPS)
	}
	if len(s.Drift.Nodes) > 0 {
		say(t, "\n")
		printDrift(t, s.Drift)
	}
	printUpstreams(t, s.Upstreams, time.Now())
	return t.Flush()
}

// showDrift says no by its exit code where there is any.
func showDrift(ctx context.Context, w io.Writer, client *api.Client, format string) error {
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	drifting := len(status.Drift.Nodes) > 0
	switch {
	case format == "json":
		err = printJSON(w, status.Drift)
	case drifting:
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		printDrift(t, status.Drift)
		err = t.Flush()
	default:
		say(w, "no drift: every node holds version %d %s\n", status.Routes.Version, short(status.Routes.Digest))
	}
	if err == nil && drifting {
		err = errSaid
	}
	return err
}

func printDrift(w io.Writer, d api.Drift) {
	say(w, "DRIFT\tVERSION\tDIGEST\tBEHIND\tSINCE\tWHY\n")
	for _, n := range d.Nodes {
		say(w, "%s\t%d\t%s\t%d\t%s\t%s\n", n.Name, n.RoutesVersion, short(n.RoutesDigest), n.VersionsBehind, n.Since.Local().Format(time.DateTime), n.Reason)
	}
}

func listens(l api.Listen) string {
	var all []string
	for _, one := range []struct{ name, addr string }{{"http", l.HTTP}, {"https", l.HTTPS}, {"mesh", l.Mesh}, {"admin", l.Admin}, {"gossip", l.Gossip}, {"rpc", l.RPC}} {
		if one.addr != "" {
			all = append(all, one.name+" "+one.addr)
		}
	}
	return strings.Join(all, ", ")
}

func millis(ms *float64) string {
	if ms == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", *ms)
}

// short is enough of a digest to compare by eye.
func short(digest string) string { return orDash(digest[:min(len(digest), 12)]) }

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
