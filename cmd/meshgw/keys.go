package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Show and rotate the gossip keys of the mesh",
		Long: `Keys are known by their fingerprints; no key is shown. The keyring file of every
node is rewritten with each change. The stock 'serf keys' does the same, key by key.`,
		Example: "  meshgw keys list\n  meshgw keys rotate",
	}
	group(cmd)
	cmd.AddCommand(keysListCommand(), keysRotateCommand(),
		keyChangeCommand("install [FINGERPRINT]", "Have every member take a new key, or one that the node has", cobra.MaximumNArgs(1), (*api.Client).InstallKey),
		keyChangeCommand("use FINGERPRINT", "Have every member seal with a key that all have", cobra.ExactArgs(1), (*api.Client).UseKey),
		keyChangeCommand("remove FINGERPRINT", "Have every member forget a key that none seals with", cobra.ExactArgs(1), (*api.Client).RemoveKey))
	return cmd
}

func keysListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "Show the keys, who has them and who encrypts with them", Example: "  meshgw keys list\n  meshgw keys list -o json", Args: noArgs}
	t := addTarget(cmd)
	output := addOutput(cmd, "text", "json")
	t.asks(cmd, func(client *api.Client, _ []string) error {
		keys, err := client.GossipKeys(cmd.Context())
		if err != nil {
			return err
		}
		if output.value == "json" {
			return printJSON(cmd.OutOrStdout(), keys)
		}
		return printKeys(cmd.OutOrStdout(), keys)
	})
	return cmd
}

func printKeys(w io.Writer, keys api.GossipKeys) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	say(t, "KEY\tHAVE IT\tSEAL WITH IT\tSEALED\n")
	for _, k := range keys.Keys {
		say(t, "%s\t%d\t%d\t%d\n", k.Fingerprint, len(k.Nodes), len(k.Primary), k.Sealed)
	}
	for _, name := range keys.Failed {
		say(t, "%s is failed\n", name)
	}
	for _, u := range keys.Unanswered {
		say(t, "%s did not answer: %s\n", u.Node, u.Reason)
	}
	return t.Flush()
}

func keyChangeCommand(use, short string, args cobra.PositionalArgs, change func(*api.Client, context.Context, string) (api.KeyChange, error)) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: "  meshgw keys " + strings.NewReplacer("[", "", "]", "", "FINGERPRINT", "5f0c1d2e3a4b5c6d").Replace(use), Args: args}
	t := addTarget(cmd)
	t.asks(cmd, func(client *api.Client, args []string) error {
		c, err := change(client, cmd.Context(), strings.Join(args, ""))
		if err != nil {
			return err
		}
		say(cmd.OutOrStdout(), "%s: %d of %d members did it\n", c.Fingerprint, c.Done, c.Members)
		for name, why := range c.Failed {
			say(cmd.OutOrStdout(), "  %s: %s\n", name, why)
		}
		if c.Done < c.Members {
			return errSaid
		}
		return nil
	})
	return cmd
}

func keysRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Rotate the gossip key: install a new one and remove the old ones",
		Long: `Installs a new key at every member, has all seal with it, and removes the keys before
it; each step waits until every node has done it. Nothing is dropped meanwhile. As long
as a node lags or is out of reach the old keys stay, and after --timeout the exit code
is 1: rotate again once it is back, or has left.`,
		Example: "  meshgw keys rotate\n  meshgw keys rotate --timeout 5m",
		Args:    noArgs,
	}
	t := addTarget(cmd)
	timeout := cmd.Flags().Duration("timeout", 2*time.Minute, "how long to wait in all")
	t.asks(cmd, func(client *api.Client, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		return (&keyWalk{client, cmd.OutOrStdout()}).run(ctx)
	})
	return cmd
}

// keyWalk takes the mesh from its keys to a new one.
type keyWalk struct {
	client *api.Client
	out    io.Writer
}

func (r *keyWalk) run(ctx context.Context) error {
	before, err := r.client.GossipKeys(ctx)
	if err != nil {
		return err
	}
	change, err := r.client.InstallKey(ctx, "")
	if err != nil {
		return err
	}
	key := change.Fingerprint
	say(r.out, "new key %s\n", key)
	if err := r.until(ctx, "have it", key, r.client.InstallKey, func(k api.GossipKey) []string { return k.Nodes }); err != nil {
		return err
	}
	if err := r.until(ctx, "seal with it", key, r.client.UseKey, func(k api.GossipKey) []string { return k.Primary }); err != nil {
		return err
	}
	for _, old := range before.Keys {
		if err := r.remove(ctx, old.Fingerprint); err != nil {
			return err
		}
	}
	return nil
}

// until has a change made again and again until all nodes are among those that
// of says.
func (r *keyWalk) until(ctx context.Context, what, key string, again func(context.Context, string) (api.KeyChange, error), of func(api.GossipKey) []string) error {
	return r.retry(ctx, func() (string, error) {
		keys, err := r.client.GossipKeys(ctx)
		if err != nil {
			return "", err
		}
		late := keys.Late(key, of)
		if len(late) == 0 {
			say(r.out, "all %s\n", what)
			return "", nil
		}
		_, err = again(ctx, key)
		return fmt.Sprintf("not all %s: %s", what, strings.Join(late, ", ")), err
	})
}

// remove takes an old key from all.
func (r *keyWalk) remove(ctx context.Context, old string) error {
	return r.retry(ctx, func() (string, error) {
		keys, err := r.client.GossipKeys(ctx)
		if err != nil {
			return "", err
		}
		if !slices.ContainsFunc(keys.Keys, func(k api.GossipKey) bool { return k.Fingerprint == old }) && len(keys.Unanswered) == 0 {
			say(r.out, "removed %s\n", old)
			return "", nil
		}
		_, err = r.client.RemoveKey(ctx, old)
		return "the old key " + old + " is there yet", err
	})
}

// retry does a step until it lacks nothing or ctx ends; what it lacked last, or
// was refused for, is then the error.
func (r *keyWalk) retry(ctx context.Context, step func() (lack string, err error)) error {
	said := ""
	for {
		lack, err := step()
		switch {
		case lack == "" && err == nil:
			return nil
		case errors.Is(err, api.ErrUnreachable) && ctx.Err() == nil:
			return err
		case err != nil && ctx.Err() == nil:
			lack = err.Error()
		}
		if lack != "" && lack != said {
			said = lack
			say(r.out, "waiting: %s\n", lack)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in time: %s", said)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
