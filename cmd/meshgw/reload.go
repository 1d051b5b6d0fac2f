package main

import (
	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func reloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make a node reload its certificates, keyring and route file",
		Long: `reload does what SIGHUP does, and says what could not be read: the old ones of
that serve on, and the exit code is 1. Open connections go on.`,
		Example: "  meshgw reload\n  kubectl exec meshgw-eu-0 -- meshgw reload",
		Args:    noArgs,
	}
	t := addTarget(cmd)
	t.asks(cmd, func(client *api.Client, _ []string) error {
		if err := client.Reload(cmd.Context()); err != nil {
			return err
		}
		say(cmd.OutOrStdout(), "reloaded\n")
		return nil
	})
	return cmd
}
