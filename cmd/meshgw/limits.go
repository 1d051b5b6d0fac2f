package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func limitsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "limits", Short: "Show limits and who uses them", Example: "  meshgw limits show"}
	group(cmd)
	cmd.AddCommand(limitsShowCommand())
	return cmd
}

func limitsShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [KEY]",
		Short: "Show each limit, its use, shares and mode, and who uses it most",
		Long: `Shows the limits as all nodes keep them together, the heaviest keys first. KEY
picks a limit by its name, or keys by their hash or by a part of whom they count.

A key's home is the node that counts it and leases to the others; a mode that is
not normal says why, and where.`,
		Example: "  meshgw limits show\n  meshgw limits show orders-per-tenant\n  meshgw limits show tenant=acme",
		Args:    cobra.MaximumNArgs(1),
	}
	t := addTarget(cmd)
	output := addOutput(cmd, "text", "json")
	t.asks(cmd, func(client *api.Client, args []string) error {
		limits, err := client.Limits(cmd.Context(), strings.Join(args, ""), true)
		if err != nil {
			return err
		}
		switch {
		case output.value == "json":
			err = printJSON(cmd.OutOrStdout(), limits)
		case len(limits) == 0 && len(args) == 0:
			say(cmd.OutOrStdout(), "no limits\n")
		default:
			err = printLimits(cmd.OutOrStdout(), limits)
		}
		if err == nil && len(limits) == 0 && len(args) > 0 {
			return fmt.Errorf("no limit and no key in use is called %q", args[0])
		}
		return err
	})
	return cmd
}

func printLimits(w io.Writer, limits []api.LimitUse) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for i, l := range limits {
		if i > 0 {
			say(t, "\n")
		}
		say(t, "%s\t%s, scope %s, %d keys in use, %d allowed and %d refused\n", l.Name, amounts(l.Limit), l.Scope, l.Tracked, l.Allowed, l.Refused)
		if len(l.Keys) > 0 {
			say(t, "  KEY\tOF\tKIND\tHOME\tMODE\tLEASE\tDEMAND\tADMITTED\tWAITING\n")
		}
		for _, k := range l.Keys {
			printLimitKey(t, k)
		}
		for _, u := range l.Unanswered {
			say(t, "  without %s: %s\n", u.Node, u.Reason)
		}
	}
	return t.Flush()
}

func amounts(l api.Limit) string {
	var all []string
	if l.Rate != "" {
		all = append(all, fmt.Sprintf("%s, burst %d", l.Rate, l.Burst))
	}
	if l.Concurrency > 0 {
		all = append(all, fmt.Sprintf("%d at once", l.Concurrency))
	}
	return strings.Join(all, ", ")
}

func printLimitKey(t io.Writer, k api.LimitKey) {
	lease := "-"
	if k.Leased {
		lease = strconv.FormatFloat(k.Lease, 'f', 1, 64)
	}
	say(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%d\t%d\n", k.Key, orDash(k.Of), k.Kind, orDash(k.Home), k.Mode, lease, k.Demand, k.Admitted, k.Waiting)
	if k.Why != "" {
		say(t, "    why\t%s\n", k.Why)
	}
	for _, u := range k.Users {
		state := ""
		if u.Silent {
			state = ", silent"
		}
		say(t, "    %s\tasks %.1f, leases %.1f, heard %.1f s ago%s\n", orDash(u.Node), u.Demand, u.Lease, u.AgeMS/1000, state)
	}
}
