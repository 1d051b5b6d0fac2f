package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

func validateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "validate FILE...",
		Short:   "Check route files without a node",
		Long:    "validate reads several files as one, exits 1 where they are not valid, and tells every mistake with its file, line and column. FILE may be -.",
		Example: "  meshgw routes validate routes.yaml\n  meshgw routes validate upstreams.yaml routes/*.yaml",
		Args:    cobra.MinimumNArgs(1),
	}
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sources, err := readSources(cmd.Context(), args, cmd.InOrStdin())
		if err != nil {
			return err
		}
		problems := check(sources)
		if output.value == "json" {
			err = printJSON(cmd.OutOrStdout(), problems)
		} else if len(problems) > 0 {
			say(cmd.OutOrStdout(), "%v\n", problems)
		}
		if err == nil && problems.Err() != nil {
			err = errSaid
		}
		return err
	}
	return cmd
}

// check finds what is wrong with route files: their form first, and where that
// is sound, what they say.
func check(files []routefile.Source) routetable.Problems {
	f, err := decode(files)
	if problems, ok := errors.AsType[routetable.Problems](err); ok {
		return problems
	}
	if err != nil {
		return routetable.Problems{{Message: err.Error()}}
	}
	return append(routetable.Problems{}, f.Validate()...)
}

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of route files, for editors",
		Long: `schema prints what editors check and complete a route file by. With the YAML
language server, begin a route file by the line

  # yaml-language-server: $schema=./meshgw.schema.json`,
		Example: "  meshgw routes schema > meshgw.schema.json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(routetable.Schema())
			return err
		},
	}
}
