package main

import (
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func banCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ban", Short: "Ban clients for a while, at every node",
		Example: "  meshgw ban add 192.0.2.7 --for 10m -m scraping\n  meshgw ban list\n  meshgw ban remove 192.0.2.7",
	}
	group(cmd)
	cmd.AddCommand(banAddCommand(), banListCommand(), banRemoveCommand())
	return cmd
}

func banAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add ADDRESS|CIDR",
		Short: "Refuse a client's requests with 403 for a while",
		Long: `Every node refuses the requests of the address, or of the network, with 403 within a
second, until the time is over. Nodes that start later learn of it. What is to stay
belongs into access.deny of the route file.`,
		Example: "  meshgw ban add 192.0.2.7 --for 10m -m scraping\n  meshgw ban add 2001:db8::/32 --for 24h",
		Args:    cobra.ExactArgs(1),
	}
	t := addTarget(cmd)
	ask := api.BanRequest{}
	lasts := cmd.Flags().Duration("for", time.Hour, "how long, up to 720h")
	cmd.Flags().StringVarP(&ask.Reason, "message", "m", "", "why, for those who look at the list")
	t.asks(cmd, func(client *api.Client, args []string) error {
		ask.CIDR, ask.For = args[0], lasts.String()
		b, err := client.Ban(cmd.Context(), ask)
		if err != nil {
			return ofArgument(err)
		}
		say(cmd.OutOrStdout(), "%s is banned for %s\n", b.CIDR, lasts)
		return nil
	})
	return cmd
}

func banListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "Show who is banned, until when and why", Example: "  meshgw ban list\n  meshgw ban list -o json", Args: noArgs}
	t := addTarget(cmd)
	output := addOutput(cmd, "text", "json")
	t.asks(cmd, func(client *api.Client, _ []string) error {
		bans, err := client.Bans(cmd.Context())
		switch {
		case err != nil:
			return err
		case output.value == "json":
			return printJSON(cmd.OutOrStdout(), bans)
		case len(bans) == 0:
			say(cmd.OutOrStdout(), "nobody is banned\n")
			return nil
		}
		return printBans(cmd.OutOrStdout(), bans)
	})
	return cmd
}

func printBans(w io.Writer, bans []api.Ban) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	say(t, "NETWORK\tLEFT\tBY\tAT NODE\tWHY\n")
	for _, b := range bans {
		left := time.Duration(b.LeftMillis) * time.Millisecond
		say(t, "%s\t%s\t%s\t%s\t%s\n", b.CIDR, left.Round(time.Second), orDash(b.By), orDash(b.Node), orDash(b.Reason))
	}
	return t.Flush()
}

func banRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove ADDRESS|CIDR", Short: "Lift a ban before it ends",
		Example: "  meshgw ban remove 192.0.2.7", Args: cobra.ExactArgs(1),
	}
	t := addTarget(cmd)
	t.asks(cmd, func(client *api.Client, args []string) error {
		b, err := client.Unban(cmd.Context(), args[0])
		if err != nil {
			return ofArgument(err)
		}
		say(cmd.OutOrStdout(), "%s is banned no more\n", b.CIDR)
		return nil
	})
	return cmd
}
