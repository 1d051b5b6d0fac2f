package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func routesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "routes",
		Short: "Check, apply and read the route table",
		Example: `  meshgw routes validate routes.yaml
  meshgw routes diff routes.yaml
  meshgw routes apply routes.yaml --wait all -m "orders move to eu"`,
	}
	group(cmd)
	cmd.AddCommand(validateCommand(), applyCommand(), getCommand(), showCommand(), diffCommand(), historyCommand(), rollbackCommand(), explainCommand(), schemaCommand())
	return cmd
}

func getCommand() *cobra.Command {
	cmd := documentCommand("get", "Print the table as a route file", "  meshgw routes get > routes.yaml\n  meshgw routes export -o json", noArgs)
	cmd.Aliases = []string{"export"}
	return cmd
}

func showCommand() *cobra.Command {
	return documentCommand("show VERSION", "Print the table as it was at a version", "  meshgw routes show 12\n  meshgw routes show 12@eu-1", cobra.ExactArgs(1))
}

func documentCommand(use, short, example string, args cobra.PositionalArgs) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: example, Args: args}
	t := addTarget(cmd)
	output := addOutput(cmd, "yaml", "json")
	t.asks(cmd, func(client *api.Client, args []string) error {
		version := ""
		if len(args) > 0 {
			version = args[0]
		}
		doc, _, err := client.Document(cmd.Context(), version, output.value == "json")
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(doc)
		return err
	})
	return cmd
}

func historyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "history",
		Short:   "List the changesets that the node remembers, the newest first",
		Example: "  meshgw routes history",
		Args:    noArgs,
	}
	t := addTarget(cmd)
	output := addOutput(cmd, "text", "json")
	t.asks(cmd, func(client *api.Client, _ []string) error {
		all, err := client.History(cmd.Context())
		if err != nil {
			return err
		}
		if output.value == "json" {
			return printJSON(cmd.OutOrStdout(), all)
		}
		return printHistory(cmd.OutOrStdout(), all)
	})
	return cmd
}

func printHistory(w io.Writer, all []api.Changeset) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	say(t, "CHANGESET\tAT\tBY\tCHANGES\tCONFLICT\tWHY\n")
	for _, c := range all {
		conflict := "-"
		if c.Conflict {
			conflict = "yes"
		}
		say(t, "%s\t%s\t%s\t%d\t%s\t%s\n", c.ID, c.At.Local().Format(time.DateTime), orDash(c.By), len(c.Changes), conflict, c.Message)
	}
	return t.Flush()
}

// follow shows node by node who holds a version, until enough do.
func follow(ctx context.Context, w io.Writer, client *api.Client, what string, version uint64, began time.Time, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	told := map[string]bool{}
	var last api.Wait
	for {
		status, err := client.Status(ctx)
		if err == nil {
			last = status.Held(what, version)
			tellHolders(w, status, version, told)
		}
		if err == nil && last.Done() {
			_, err = fmt.Fprintf(w, "%d of %d nodes hold version %d after %v\n", last.Held, last.Wanted, version, time.Since(began).Round(time.Millisecond))
			return err
		}
		select {
		case <-ctx.Done():
			return lateError(last, version)
		case <-time.After(followStep):
		}
	}
}

// followStep is often enough to look smooth.
const followStep = 50 * time.Millisecond

func tellHolders(w io.Writer, s api.Status, version uint64, told map[string]bool) {
	for _, m := range s.Members {
		if m.Status == api.MemberAlive && m.RoutesVersion >= version && !told[m.Name] {
			told[m.Name] = true
			say(w, "%s holds version %d\n", m.Name, m.RoutesVersion)
		}
	}
}

func lateError(w api.Wait, version uint64) error {
	lines := []string{fmt.Sprintf("%d of %d nodes hold version %d in time", w.Held, w.Wanted, version)}
	for _, l := range w.Late {
		lines = append(lines, fmt.Sprintf("late: %s holds version %d: %s", l.Name, l.RoutesVersion, orDash(l.Reason)))
	}
	return errors.New(strings.Join(lines, "\n"))
}
