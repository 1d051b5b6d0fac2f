package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/api"
	"github.com/meshgw/meshgw/node/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends at once what is still ending
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes of every command.
const (
	exitDone  = 0
	exitNo    = 1 // the answer is no: not valid, not in time, not started
	exitUsage = 2 // the arguments do not parse, or no node could be reached
)

// run is main without the process: it runs the command in args until it is done or
// ctx ends, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	understood := false
	root := rootCommand()
	root.PersistentPreRun = func(*cobra.Command, []string) { understood = true }
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	code := exitNo
	refused, _ := errors.AsType[*api.Problem](err)
	if !understood || errors.Is(err, errUsage) || errors.Is(err, config.ErrSettings) || errors.Is(err, api.ErrUnreachable) || refused.Misasked() {
		code = exitUsage
	}
	if !errors.Is(err, errSaid) {
		complain(stderr, cmd, err, understood)
	}
	return code
}

var (
	errUsage = errors.New("usage")            // marks arguments that only their command can judge
	errSaid  = errors.New("has been printed") // marks a no that the output tells already
)

// ofArgument marks as usage what a node says of a value that was an argument.
func ofArgument(err error) error {
	if p, ok := errors.AsType[*api.Problem](err); ok && p.Status == http.StatusUnprocessableEntity {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return err
}

// complain prints an error: those in a file on lines of their own, so that editors
// find the places.
func complain(stderr io.Writer, cmd *cobra.Command, err error, understood bool) {
	text := strings.TrimSuffix(err.Error(), "\n")
	switch {
	case errors.Is(err, config.ErrSettings):
		say(stderr, "meshgw: bad settings:\n%s\n", text)
	case errors.Is(err, config.ErrRefused):
		say(stderr, "meshgw: refused to start:\n%s\n", text)
	default:
		say(stderr, "meshgw: %s\n", text)
	}
	switch {
	case !understood:
		if !cmd.HasSubCommands() {
			say(stderr, "Usage: %s\n", cmd.UseLine())
		}
		say(stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
	case errors.Is(err, api.ErrUnreachable) && errors.Is(err, syscall.ECONNREFUSED):
		say(stderr, "Is a node running there? 'meshgw agent' starts one; --admin or MESHGW_ADMIN name another.\n")
	case errors.Is(err, syscall.EADDRINUSE):
		say(stderr, "Another process has that port, maybe another node: --http, --https, --mesh, --bind, --rpc and --admin\nname other addresses, and port 0 takes a free one.\n")
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "meshgw",
		Short: "A decentralized API gateway",
		Long: `meshgw runs the nodes of a decentralized API gateway, and queries and changes
them. Nodes find each other by gossip and replicate one route table; each proxies
requests by itself.

Exit codes: 0 done; 1 the answer is no; 2 usage, settings that do not parse, or
a node that could not be reached.`,
		Example: `  meshgw demo --for 30s
  meshgw agent --routes routes.yaml
  meshgw status --watch`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	group(root)
	root.AddCommand(agentCommand(), demoCommand(), statusCommand(), routesCommand(), importCommand(), limitsCommand(), banCommand(), drainCommand(), undrainCommand(), endpointCommand(), reloadCommand(), weightCommand(), doctorCommand(), traceCommand(), topCommand(), keygenCommand(), keysCommand(), certCommand(), versionCommand())
	explainCompletion(root)
	return root
}

// explainCompletion gives cobra's own command the examples that every other has.
func explainCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	if err != nil {
		panic(err) // cobra has just made it
	}
	completion.Example = "  source <(meshgw completion bash)"
	for _, shell := range completion.Commands() {
		shell.Example = "  meshgw completion " + shell.Name()
	}
}

// group makes cmd one that only holds others: alone it shows its help, and a
// word that is none of its commands is an error, which cobra lets pass.
func group(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		cmd.SuggestionsMinimumDistance = 2
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return fmt.Errorf("unknown command %q for %q, did you mean %q?", args[0], cmd.CommandPath(), near[0])
		}
		return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// noArgs is cobra.NoArgs, which calls what is too much an unknown command.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}
