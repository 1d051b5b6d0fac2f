package main

import (
	"cmp"
	"context"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func topCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show requests/s, errors and percentiles by route and node, live",
		Long: `top asks all nodes for the requests of the last seconds. Percentiles of several
nodes are of all their requests together.

On a terminal it draws again until interrupted; elsewhere, or with --once, it
prints once.`,
		Example: "  meshgw top\n  meshgw top --sort p99 --rows 40\n  meshgw top --once -o json",
		Args:    noArgs,
	}
	t := addTarget(cmd)
	output := addOutput(cmd, "text", "json")
	once := cmd.Flags().Bool("once", false, "print once")
	interval := cmd.Flags().Duration("interval", 2*time.Second, "between two refreshes")
	rows := cmd.Flags().Int("rows", 20, "routes shown")
	order := &oneOf{value: "rps", of: []string{"rps", "errors", "p50", "p99"}}
	cmd.Flags().Var(order, "sort", "what the routes are ordered by")
	t.asks(cmd, func(client *api.Client, _ []string) error {
		show := func(w io.Writer) error {
			return showTraffic(cmd.Context(), w, client, output.value, order.value, *rows)
		}
		if *once || output.value == "json" || !isTerminal(cmd.OutOrStdout()) {
			return show(cmd.OutOrStdout())
		}
		return redraw(cmd.Context(), cmd.OutOrStdout(), max(*interval, 100*time.Millisecond), show)
	})
	return cmd
}

func showTraffic(ctx context.Context, w io.Writer, client *api.Client, format, order string, rows int) error {
	traffic, err := client.Traffic(ctx, true)
	if err != nil {
		return err
	}
	if format == "json" {
		return printJSON(w, traffic)
	}
	return printTraffic(w, traffic, order, rows)
}

func printTraffic(w io.Writer, traffic api.Traffic, order string, rows int) error {
	say(w, "%d nodes, the last %.0f s\n\n", len(traffic.Nodes), traffic.Seconds)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	line := func(name string, r api.TrafficRates) {
		say(t, "%s\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t\n", name, r.RPS, r.Errors, r.P50, r.P90, r.P99)
	}
	say(t, "NODE\tREQUESTS/S\tERRORS/S\tP50 MS\tP90 MS\tP99 MS\t\n")
	for _, n := range traffic.Nodes {
		line(n.Node+" ("+n.Region+")", n.TrafficRates)
	}
	line("all", traffic.Total)
	say(t, "\t\t\t\t\t\t\nROUTE\tREQUESTS/S\tERRORS/S\tP50 MS\tP90 MS\tP99 MS\t\n")
	routes := traffic.Routes
	slices.SortStableFunc(routes, func(a, b api.RouteTraffic) int { return cmp.Compare(ranked(b, order), ranked(a, order)) })
	for _, r := range routes[:min(len(routes), max(rows, 0))] {
		line(cmp.Or(r.Route, "(no route)"), r.TrafficRates)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if more := len(routes) - rows; more > 0 {
		say(w, "and %d routes more\n", more)
	}
	for _, u := range traffic.Unanswered {
		say(w, "%s did not answer: %s\n", u.Node, u.Reason)
	}
	return nil
}

func ranked(r api.RouteTraffic, order string) float64 {
	switch order {
	case "errors":
		return r.Errors
	case "p50":
		return r.P50
	case "p99":
		return r.P99
	}
	return r.RPS
}
