package main

import (
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Diagnose the whole mesh, and suggest what to run next",
		Long: `doctor has the asked node question all others and goes through a checklist:
the same routes everywhere; upstreams and breakers; members, links and clocks;
limits of CPU, memory, descriptors and connections; recent errors; certificates
and keys; traffic that departs from its own history.

doctor exits 0 where nothing was found, 1 with findings, 2 where it could not look.`,
		Example: "  meshgw doctor\n  meshgw doctor -o json --admin http://127.0.0.1:9902",
		Args:    noArgs,
	}
	t := addTarget(cmd)
	output := addOutput(cmd, "text", "json")
	t.asks(cmd, func(client *api.Client, _ []string) error {
		d, err := client.Doctor(cmd.Context())
		if err != nil {
			return blind{err}
		}
		if output.value == "json" {
			err = printJSON(cmd.OutOrStdout(), d)
		} else {
			printDiagnosis(cmd.OutOrStdout(), d)
		}
		if err == nil && !d.OK {
			err = errSaid
		}
		return err
	})
	return cmd
}

// blind is that the doctor could not look, which is no finding.
type blind struct{ error }

func (b blind) Unwrap() error      { return b.error }
func (blind) Is(target error) bool { return target == errUsage }

func printDiagnosis(w io.Writer, d api.Diagnosis) {
	for i, c := range d.Checks {
		verdict := "ok     "
		if !c.OK {
			verdict = "FINDING"
		}
		say(w, "%d  %s  %-12s  %s\n", i+1, verdict, c.Name, c.Summary)
		for _, f := range c.Findings {
			printFinding(w, "-", f)
		}
		for _, f := range c.Notes {
			printFinding(w, "note:", f)
		}
	}
	for _, u := range d.Unanswered {
		say(w, "%s did not answer: %s\n", u.Node, u.Reason)
	}
}

func printFinding(w io.Writer, mark string, f api.Finding) {
	const indent = "            "
	say(w, "%s%s %s", indent, mark, f.What)
	if !f.Since.IsZero() {
		say(w, ", since %s", f.Since.Local().Format(time.DateTime))
	}
	if len(f.Nodes) > 0 {
		say(w, " [%s]", strings.Join(f.Nodes, " "))
	}
	say(w, "\n%s  run: %s\n", indent, f.Next)
}
