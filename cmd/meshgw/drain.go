package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func drainCommand() *cobra.Command {
	return rotation("drain", "Take a node out of rotation",
		"The node tells the mesh and fails its readiness; it goes on serving what still comes.", (*api.Client).Drain)
}

func undrainCommand() *cobra.Command {
	return rotation("undrain", "Take a drained node into rotation again",
		"The node tells the mesh and is ready again.", (*api.Client).Undrain)
}

func rotation(name, short, long string, do func(*api.Client, context.Context) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:     name,
		Short:   short,
		Long:    long,
		Example: "  meshgw " + name + "\n  meshgw " + name + " --admin http://127.0.0.1:9902",
		Args:    noArgs,
	}
	t := addTarget(cmd)
	t.asks(cmd, func(client *api.Client, _ []string) error {
		if err := do(client, cmd.Context()); err != nil {
			return err
		}
		status, err := client.Status(cmd.Context())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", status.Node.Name, status.Node.State)
		return err
	})
	return cmd
}
