package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func weightCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "weight N",
		Short: "Change a node's capacity relative to others",
		Long: "The node tells the mesh, and other regions send it requests by its new weight. It lasts until the node restarts,\n" +
			"which begins with its --weight. To send a node nothing, drain it.",
		Example: "  meshgw weight 50\n  meshgw weight 200 --admin http://127.0.0.1:9902",
		Args:    cobra.ExactArgs(1),
	}
	t := addTarget(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		weight, err := strconv.Atoi(args[0])
		if err != nil {
			return fmt.Errorf("%w: %q is no weight", errUsage, args[0])
		}
		client, err := t.client()
		if err != nil {
			return err
		}
		if err := client.SetWeight(cmd.Context(), weight); err != nil {
			return ofArgument(err)
		}
		status, err := client.Status(cmd.Context())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s has weight %d\n", status.Node.Name, status.Node.Weight)
		return err
	}
	return cmd
}
