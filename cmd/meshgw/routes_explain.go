package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain METHOD URL",
		Short: "Say which route answers a request, why, and which came close",
		Long: `explain exits 1 where no route answers. With --mesh it asks every node,
shows where they differ, and exits 1 also where they do or where one is silent.`,
		Example: `  meshgw routes explain GET http://api.example.com/v1/orders -H "x-beta: 1"
  meshgw routes explain GET http://api.example.com/v1/orders --mesh`,
		Args: cobra.ExactArgs(2),
	}
	t := addTarget(cmd)
	output := addOutput(cmd, "text", "json")
	headers := cmd.Flags().StringArrayP("header", "H", nil, "header field of the request, as `\"NAME: VALUE\"`; repeatable")
	mesh := cmd.Flags().Bool("mesh", false, "ask every node")
	t.asks(cmd, func(client *api.Client, args []string) error {
		explain := explainHere
		if *mesh {
			explain = explainEverywhere
		}
		return explain(cmd.Context(), cmd.OutOrStdout(), client, api.ExplainRequest{Method: args[0], URL: args[1], Headers: *headers}, output.value)
	})
	return cmd
}

func explainHere(ctx context.Context, w io.Writer, client *api.Client, q api.ExplainRequest, format string) error {
	e, err := client.Explain(ctx, q)
	if err != nil {
		return err
	}
	if format == "json" {
		err = printJSON(w, e)
	} else {
		printExplanation(w, e, []string{e.Node})
	}
	if err == nil && e.Route == "" {
		err = errSaid
	}
	return err
}

func explainEverywhere(ctx context.Context, w io.Writer, client *api.Client, q api.ExplainRequest, format string) error {
	all, err := client.ExplainMesh(ctx, q)
	if err != nil {
		return err
	}
	if format == "json" {
		err = printJSON(w, all)
	} else {
		printExplanations(w, all)
	}
	none := func(e api.Explanation) bool { return e.Route == "" }
	if err == nil && (!all.Agree || len(all.Unanswered) > 0 || slices.ContainsFunc(all.Answers, none)) {
		err = errSaid
	}
	return err
}

// printExplanations shows each different answer once, with who gives it.
func printExplanations(w io.Writer, all api.MeshExplanation) {
	rest := all.Answers
	for len(rest) > 0 {
		first, others := rest[0], []api.Explanation(nil)
		var nodes []string
		for _, e := range rest {
			if e.SameAs(first) {
				nodes = append(nodes, e.Node)
			} else {
				others = append(others, e)
			}
		}
		printExplanation(w, first, nodes)
		rest = others
	}
	for _, u := range all.Unanswered {
		say(w, "%s did not answer: %s\n", u.Node, u.Reason)
	}
	if !all.Agree {
		say(w, "the nodes differ: see meshgw status --drift\n")
	}
}

func printExplanation(w io.Writer, e api.Explanation, nodes []string) {
	if e.Route == "" {
		say(w, "no route answers: %s\n", e.Why)
	} else {
		say(w, "route %s answers: %s\n", e.Route, e.Why)
	}
	if e.Upstream != "" {
		say(w, "upstream %s\n", e.Upstream)
	}
	for _, n := range e.Near {
		say(w, "near: %s: %s\n", n.Route, n.Why)
	}
	say(w, "node %s, table %d %s\n", strings.Join(nodes, ", "), e.Version, short(e.Digest))
}
