package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/meshgw/meshgw/logs"
	"github.com/meshgw/meshgw/node"
	"github.com/meshgw/meshgw/node/config"
	"github.com/meshgw/meshgw/telemetry"
)

func agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run one node of a mesh",
		Long: `agent runs one node until it is told to stop: SIGTERM and SIGINT drain it,
SIGHUP reloads certificates, keyring and route file.

Settings come from flags over the environment (MESHGW_ and the flag's name, as in
MESHGW_DATA_DIR) over --config FILE. Each flag names its key in the file.`,
		Example: `  meshgw agent
  meshgw agent --routes routes.yaml --keyring keyring.json --join 10.0.0.1
  meshgw agent --config /etc/meshgw/meshgw.yaml`,
		Args: noArgs,
	}
	file := cmd.Flags().String("config", "", "settings `FILE`, YAML, or MESHGW_CONFIG")
	given := map[string][]string{}
	for _, s := range config.Settings() {
		addSetting(cmd, s, given)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(given, os.Environ(), *file)
		if err != nil {
			return err
		}
		return runLogged(cmd.Context(), cfg, cmd.ErrOrStderr())
	}
	return cmd
}

// addSetting gives cmd the flag of s. Its text is kept as it is: config.Load
// judges all settings together, wherever they come from.
func addSetting(cmd *cobra.Command, s config.Setting, given map[string][]string) {
	usage := s.Help + " [" + s.Key + "]"
	if s.Absent != "" {
		usage += " (default: " + s.Absent + ")"
	}
	cmd.Flags().Var(settingFlag{s, given}, s.Flag, usage)
	f := cmd.Flags().Lookup(s.Flag)
	f.DefValue = s.Default
	if s.Switch() {
		f.NoOptDefVal = "true"
	}
}

type settingFlag struct {
	setting config.Setting
	given   map[string][]string
}

func (f settingFlag) String() string { return strings.Join(f.given[f.setting.Flag], ",") }

// Set keeps the text of one more mention of the flag.
func (f settingFlag) Set(value string) error {
	f.given[f.setting.Flag] = append(f.given[f.setting.Flag], value)
	return nil
}

// Type is what stands for the value in the help.
func (f settingFlag) Type() string {
	if f.setting.Switch() {
		return "bool"
	}
	return f.setting.Value
}

// runLogged runs a node, and its log for as long. Should whoever reads the log die,
// lines are lost and not the node, which the signal would end.
func runLogged(ctx context.Context, cfg config.Config, stderr io.Writer) error {
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	node.BoundMemory()
	lines := new(telemetry.Lines)
	log := openLog(cfg.Log, stderr, lines)
	logging, stop := context.WithCancel(context.WithoutCancel(ctx))
	written := make(chan struct{})
	go func() {
		defer close(written)
		log.Run(logging)
	}()
	err := runNode(ctx, node.New(cfg, thisBuild().Version, log).In(node.World{Lines: lines}), cfg.Warnings(), log)
	stop()
	<-written
	return err
}

func runNode(ctx context.Context, n *node.Node, warnings []string, log *logs.Log) error {
	for _, warning := range warnings {
		log.Events.Warn().Msg(warning)
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	for {
		select {
		case <-hangup:
			_ = n.Reload() // it logs what it could not read
		case err := <-done:
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
	}
}

// openLog opens the log of a node. Its events go to lines, too.
func openLog(cfg config.Log, w, lines io.Writer) *logs.Log {
	terminal := isTerminal(w)
	open := logs.Config{Level: cfg.Level, Also: lines}
	if cfg.Format == "console" || cfg.Format == "" && terminal {
		open.Console = func(out io.Writer) io.Writer {
			return zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly + ".000", NoColor: !terminal}
		}
	}
	return logs.Open(w, open)
}
