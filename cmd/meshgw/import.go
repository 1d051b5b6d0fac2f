package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/kong"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "import",
		Short:   "Convert the configuration of another gateway",
		Example: "  meshgw import kong kong.yaml > routes.yaml",
	}
	group(cmd)
	cmd.AddCommand(importKongCommand())
	return cmd
}

func importKongCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kong FILE",
		Short: "Convert a declarative file of Kong to a route file",
		Long: `kong prints the route file that does what a declarative file of Kong's says, such
as "deck gateway dump" writes: services, routes, upstreams with their targets,
consumers with their keys and groups, and the plugins acl, cors, ip-restriction,
key-auth, rate-limiting, request-size-limiting, request-termination, request-transformer and
response-transformer. FILE may be -.

All else is told on standard error, with what to write instead. Where it decides
who is let in, such as a plugin that is not known, the route answers 503 until you
write what is missing.

Prefixes end at a border of segments here: /a does not match /ab, as it does in Kong.
Limits hold over the whole mesh.`,
		Example: "  meshgw import kong kong.yaml > routes.yaml\n  deck gateway dump -o - | meshgw import kong - | meshgw routes apply - --dry-run",
		Args:    cobra.ExactArgs(1),
	}
	output := addOutput(cmd, "yaml", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sources, err := readSources(cmd.Context(), args, cmd.InOrStdin())
		if err != nil {
			return err
		}
		spec, notes, err := kong.Import(sources[0].Data)
		if err != nil {
			return err
		}
		encode := routefile.EncodeYAML
		if output.value == "json" {
			encode = routefile.EncodeJSON
		}
		doc, err := encode(spec)
		if err != nil {
			return err
		}
		for _, n := range notes {
			say(cmd.ErrOrStderr(), "%v\n", n)
		}
		if _, err := cmd.OutOrStdout().Write(doc); err != nil {
			return err
		}
		if mistakes := routetable.Validate(spec).Err(); mistakes != nil {
			return fmt.Errorf("the route file needs a hand:\n%w", mistakes)
		}
		return nil
	}
	return cmd
}
