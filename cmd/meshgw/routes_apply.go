package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

// changing is what the commands that change the table have in common.
type changing struct {
	options api.ApplyOptions
	target  *target
	output  *oneOf
}

func addChanging(cmd *cobra.Command) *changing {
	c := &changing{target: addTarget(cmd), output: addOutput(cmd, "text", "json")}
	f := cmd.Flags()
	f.StringVar(&c.options.Wait, "wait", "", "wait until `all|region|N` nodes hold it, and show their progress")
	f.DurationVar(&c.options.Timeout, "timeout", 30*time.Second, "of --wait")
	f.StringVar(&c.options.IfMatch, "if-version", "", "refuse unless the table is at version `V`, a version or an ETag")
	f.StringVarP(&c.options.Message, "message", "m", "", "reason for the change, for the history")
	f.BoolVar(&c.options.DryRun, "dry-run", false, "change nothing, print what would change")
	return c
}

func applyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply FILE...",
		Short: "Apply route files to the mesh through any of its nodes",
		Long: `apply reads several files as one, replaces ${NAME} by what the environment of
this command says, and exits 1 where a file is not valid, the version is another,
or not enough nodes held the table in time. FILE may be -.`,
		Example: `  meshgw routes apply routes.yaml -m "orders move to eu"
  meshgw routes apply routes.yaml --wait all --timeout 10s
  meshgw routes apply upstreams.yaml routes/*.yaml --prune --dry-run`,
		Args: cobra.MinimumNArgs(1),
	}
	c := addChanging(cmd)
	cmd.Flags().BoolVar(&c.options.Prune, "prune", false, "delete what the files lack")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file, err := readRouteFiles(cmd.Context(), args, cmd.InOrStdin())
		if err != nil {
			return err
		}
		return c.run(cmd, func(ctx context.Context, client *api.Client, o api.ApplyOptions) (api.Applied, error) {
			return file.apply(ctx, client, o, cmd.ErrOrStderr())
		})
	}
	return cmd
}

func rollbackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rollback VERSION",
		Short:   "Roll back: apply the content of a version as a new one",
		Example: "  meshgw routes history\n  meshgw routes rollback 12 --wait all",
		Args:    cobra.ExactArgs(1),
	}
	c := addChanging(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.run(cmd, func(ctx context.Context, client *api.Client, o api.ApplyOptions) (api.Applied, error) {
			return client.Rollback(ctx, args[0], o)
		})
	}
	return cmd
}

func (c *changing) run(cmd *cobra.Command, change func(context.Context, *api.Client, api.ApplyOptions) (api.Applied, error)) error {
	if err := api.CheckWait(c.options.Wait); err != nil {
		return fmt.Errorf("%w: --wait: %w", errUsage, err)
	}
	client, err := c.target.client()
	if err != nil {
		return err
	}
	o := c.options
	o.Wait, o.Timeout = "", 0 // this program looks itself, to show who holds it
	began := time.Now()
	applied, err := change(cmd.Context(), client, o)
	if err != nil {
		return err
	}
	progress := cmd.OutOrStdout()
	if c.output.value == "json" {
		progress = cmd.ErrOrStderr()
		err = printJSON(cmd.OutOrStdout(), applied)
	} else {
		printApplied(cmd.OutOrStdout(), applied)
	}
	if err != nil || c.options.Wait == "" || applied.DryRun {
		return err
	}
	return follow(cmd.Context(), progress, client, c.options.Wait, applied.Version, began, c.options.Timeout)
}

func diffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "diff FILE...",
		Short:   "Show what applying route files would change",
		Long:    "diff reads the files as apply does and exits 1 where something would change. FILE may be -.",
		Example: "  meshgw routes diff routes.yaml\n  meshgw routes diff upstreams.yaml routes.yaml --prune",
		Args:    cobra.MinimumNArgs(1),
	}
	t := addTarget(cmd)
	output := addOutput(cmd, "text", "json")
	prune := cmd.Flags().Bool("prune", false, "as if what the files lack were to be deleted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file, err := readRouteFiles(cmd.Context(), args, cmd.InOrStdin())
		if err != nil {
			return err
		}
		client, err := t.client()
		if err != nil {
			return err
		}
		applied, err := file.apply(cmd.Context(), client, api.ApplyOptions{DryRun: true, Prune: *prune}, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if output.value == "json" {
			err = printJSON(cmd.OutOrStdout(), applied.Changes)
		} else {
			printChanges(cmd.OutOrStdout(), applied.Changes)
		}
		if err == nil && len(applied.Changes) > 0 {
			err = errSaid
		}
		return err
	}
	return cmd
}

func printApplied(w io.Writer, a api.Applied) {
	printChanges(w, a.Changes)
	switch {
	case a.DryRun:
		say(w, "%d changes, none made\n", len(a.Changes))
	case len(a.Changes) == 0:
		say(w, "nothing to change at version %d\n", a.Version)
	default:
		say(w, "%d changes made as %s\n", len(a.Changes), a.ID)
	}
}

func printChanges(w io.Writer, all []api.Change) {
	for _, c := range all {
		say(w, "%s %s %s\n", c.Op, c.Kind, c.Name)
		if c.Diff != "" {
			say(w, "%s", c.Diff)
		}
	}
}
