package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/routetable"
	"github.com/meshgw/meshgw/routetable/routefile"
)

func endpointCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "endpoint", Short: "Take an endpoint out of service, or into it again, at every node",
		Example: "  meshgw endpoint drain http://10.0.1.10:8080\n  meshgw endpoint undrain http://10.0.1.10:8080",
	}
	group(cmd)
	cmd.AddCommand(endpointDrainCommand(), endpointUndrainCommand())
	return cmd
}

func endpointDrainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain URL",
		Short: "Drain an endpoint, and wait until it can be stopped",
		Long: `drain gives the endpoint weight 0 in every upstream that has it, and waits until
every node holds that and has nothing in flight to it, tunnels included. Exit 0:
it can be stopped, and no request is lost. Exit 1: not in time; it names who still
sends, or may: a node that does not answer is never taken for one that does not send.`,
		Example: "  meshgw endpoint drain http://10.0.1.10:8080 && ssh 10.0.1.10 systemctl restart orders\n  meshgw endpoint drain http://10.0.1.10:8080 --timeout 10m",
		Args:    cobra.ExactArgs(1),
	}
	t := addTarget(cmd)
	timeout := cmd.Flags().Duration("timeout", time.Minute, "how long to wait")
	t.asks(cmd, func(client *api.Client, args []string) error {
		version, err := setWeight(cmd.Context(), client, args[0], new(int), "drain", cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return waitIdle(cmd.Context(), cmd.OutOrStdout(), client, args[0], version, *timeout)
	})
	return cmd
}

func endpointUndrainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "undrain URL",
		Short:   "Send an endpoint requests again",
		Example: "  meshgw endpoint undrain http://10.0.1.10:8080\n  meshgw endpoint undrain http://10.0.1.10:8080 --weight 50",
		Args:    cobra.ExactArgs(1),
	}
	t := addTarget(cmd)
	weight := cmd.Flags().Int("weight", 100, "`N` relative to the other endpoints")
	t.asks(cmd, func(client *api.Client, args []string) error {
		if *weight < 1 {
			return fmt.Errorf("%w: --weight %d: want 1 or more", errUsage, *weight)
		}
		version, err := setWeight(cmd.Context(), client, args[0], weight, "undrain", cmd.ErrOrStderr())
		if err == nil {
			say(cmd.OutOrStdout(), "%s has weight %d in version %d\n", args[0], *weight, version)
		}
		return err
	})
	return cmd
}

// setWeight changes the weight of an endpoint in every upstream, and returns the
// version of the table that has it. What the node warns of, as of an upstream that has
// no endpoint left, is told on warn.
func setWeight(ctx context.Context, client *api.Client, endpoint string, weight *int, why string, warn io.Writer) (version uint64, err error) {
	doc, etag, err := client.Document(ctx, "", true)
	if err != nil {
		return 0, err
	}
	file, err := routefile.Decode(nil, routefile.Source{Data: doc})
	if err != nil {
		return 0, fmt.Errorf("read the table: %w", err)
	}
	var changed routetable.Spec
	for _, u := range file.Spec.Upstreams {
		found := false
		for i := range u.Endpoints {
			if e := &u.Endpoints[i]; strings.TrimRight(e.URL, "/") == strings.TrimRight(endpoint, "/") {
				e.Weight, found = weight, true
			}
		}
		if found {
			changed.Upstreams = append(changed.Upstreams, u)
		}
	}
	if len(changed.Upstreams) == 0 {
		return 0, fmt.Errorf("no upstream has an endpoint %s", endpoint)
	}
	if doc, err = routefile.EncodeYAML(&changed); err != nil {
		return 0, err
	}
	applied, err := client.Apply(ctx, doc, api.ApplyOptions{IfMatch: etag, Message: why + " " + endpoint})
	for _, w := range applied.Warnings {
		say(warn, "warning: %s: %s\n", w.Object, w.Detail)
	}
	return applied.Version, err
}

const (
	idleStep    = 200 * time.Millisecond
	idleSettled = time.Second // longer than a request may pause between two tries
)

// waitIdle waits until no node sends to the endpoint by a table of that version or a
// newer one, and tells who does.
func waitIdle(ctx context.Context, w io.Writer, client *api.Client, endpoint string, version uint64, timeout time.Duration) error {
	told, deadline := "", time.Now().Add(timeout)
	var idleSince time.Time
	for {
		use, err := client.EndpointUse(ctx, endpoint)
		if err != nil {
			return err
		}
		now, busy := time.Now(), use.Busy(version)
		switch text := strings.Join(busy, "\n  "); {
		case text != "" && now.After(deadline):
			return fmt.Errorf("%s cannot be stopped yet:\n  %s", endpoint, text)
		case text != "" && text != told:
			say(w, "  %s\n", text)
			told, idleSince = text, time.Time{}
		case text != "":
			idleSince = time.Time{}
		case idleSince.IsZero():
			idleSince = now
		case now.Sub(idleSince) >= idleSettled:
			say(w, "%s can be stopped: none of %d nodes sends to it\n", endpoint, len(use.Nodes))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(idleStep):
		}
	}
}
