package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/routetable"
)

func validateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "validate FILE",
		Short:   "Check a route file without a node",
		Long:    "validate exits 1 where the file is not valid, and tells every mistake with its line and column. FILE may be -.",
		Example: "  meshgw routes validate routes.yaml",
		Args:    cobra.ExactArgs(1),
	}
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		doc, err := readRouteFile(args[0], cmd.InOrStdin())
		if err != nil {
			return err
		}
		problems := check(routetable.Source{Name: args[0], Data: doc})
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

// check finds what is wrong with a route file: its form first, and where that is
// sound, what it says.
func check(file routetable.Source) routetable.Problems {
	f, err := routetable.Decode(os.LookupEnv, file)
	if problems, ok := errors.AsType[routetable.Problems](err); ok {
		return problems
	}
	if err != nil {
		return routetable.Problems{{File: file.Name, Message: err.Error()}}
	}
	return append(routetable.Problems{}, f.Validate()...)
}
