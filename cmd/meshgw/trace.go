package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func traceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace REQUEST_ID",
		Short: "Ask every node what it saw of a request, and print one timeline",
		Long: `The id is what the answer and the log line of the request have as x-request-id.
Every node remembers its last requests, those that failed or were slow for longer.

trace exits 1 where no node remembers the request.`,
		Example: "  meshgw trace 0190a5f0-5c1e-7b3a-9d2e-8f60a1b2c3d4",
		Args:    cobra.ExactArgs(1),
	}
	t := addTarget(cmd)
	output := addOutput(cmd, "text", "json")
	t.asks(cmd, func(client *api.Client, args []string) error {
		trace, err := client.Request(cmd.Context(), args[0], true)
		if err != nil {
			return err
		}
		if output.value == "json" {
			err = printJSON(cmd.OutOrStdout(), trace)
		} else {
			printTrace(cmd.OutOrStdout(), trace)
		}
		if err == nil && len(trace.Seen) == 0 {
			err = errSaid
		}
		return err
	})
	return cmd
}

func printTrace(w io.Writer, trace api.RequestTrace) {
	for _, s := range trace.Seen {
		printSeen(w, s)
	}
	if len(trace.Seen) == 0 {
		say(w, "no node that answered remembers request %s\n", trace.RequestID)
	}
	for _, u := range trace.Unanswered {
		say(w, "%s did not answer: %s\n", u.Node, u.Reason)
	}
}

// printSeen prints what one node saw; where it was sent on to is further in.
func printSeen(w io.Writer, s api.RequestSeen) {
	indent := ""
	if s.Via != "" {
		indent = "    "
	}
	line := func(format string, args ...any) { say(w, indent+format+"\n", args...) }
	line("%s  %s (%s)  %s %s%s", s.Time.UTC().Format("2006-01-02T15:04:05.000Z"), s.Node, s.Region, s.Method, s.Host, s.Path)
	if s.Via != "" {
		line("  sent on by %s (%s), for client %s", s.Via, s.ViaRegion, s.ClientIP)
	} else {
		line("  from %s by %s on %s, trace %s", s.ClientIP, s.Protocol, s.Listener, s.TraceID)
	}
	line("  %s", decided(s))
	for i, a := range s.Attempts {
		outcome := a.Outcome
		if a.Status != 0 {
			outcome += fmt.Sprintf(" %d", a.Status)
		}
		line("  %s try %d: %s (%s): %s in %s", after(a.AfterMS), i+1, a.Endpoint, a.Region, outcome, length(a.DurationMS))
	}
	line("  %s %s", after(s.DurationMS), ended(s))
}

// decided is what the node made of the request.
func decided(s api.RequestSeen) string {
	said := []string{"no route"}
	if s.Route != "" {
		said[0] = "route " + s.Route
	}
	said[0] += fmt.Sprintf(" of table %d", s.RoutesVersion)
	for _, part := range []struct{ name, value string }{{"upstream", s.Upstream}, {"tenant", s.Tenant}, {"priority", s.Priority}, {"refused by limit", s.Limit}} {
		if part.value != "" {
			said = append(said, part.name+" "+part.value)
		}
	}
	return strings.Join(said, ", ")
}

// ended is how it came to an end.
func ended(s api.RequestSeen) string {
	text := "no answer was begun"
	if s.Status != 0 {
		text = fmt.Sprintf("answered %d, %d bytes", s.Status, s.BytesOut)
	}
	if s.GRPCStatus != "" {
		text += ", gRPC " + s.GRPCStatus
	}
	if s.Error != "" {
		text += ", " + s.Error
	}
	if s.Detail != "" {
		text += ": " + s.Detail
	}
	return text
}

func after(ms float64) string { return "+" + length(ms) }

func length(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(10 * time.Microsecond).String()
}
