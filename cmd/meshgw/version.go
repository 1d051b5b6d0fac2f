package main

import (
	"cmp"
	"fmt"
	"runtime/debug"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
	"github.com/spf13/cobra"
)

// version is set by the linker when a release is built.
var version string

// build is what this program was built from.
type build struct {
	Version   string         `json:"version"`
	Commit    string         `json:"commit"`
	Go        string         `json:"go"`
	Protocols map[string]int `json:"protocols"`
}

func thisBuild() build {
	b := build{
		Version:   version,
		Protocols: map[string]int{"serf": int(serf.ProtocolVersionMax), "memberlist": int(memberlist.ProtocolVersionMax), "admin": 1},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version = cmp.Or(b.Version, info.Main.Version)
		b.Go = info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Commit = s.Value
			}
		}
	}
	b.Version = cmp.Or(b.Version, "(devel)")
	b.Commit = cmp.Or(b.Commit, "unknown")
	return b
}

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version and what it was built from",
		Example: "  meshgw version\n  meshgw version -o json",
		Args:    noArgs,
	}
	output := addOutput(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		b := thisBuild()
		if output.value == "json" {
			return printJSON(cmd.OutOrStdout(), b)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "meshgw %s\ncommit %s\ngo %s\nprotocols serf %d, memberlist %d, admin v%d\n",
			b.Version, b.Commit, b.Go, b.Protocols["serf"], b.Protocols["memberlist"], b.Protocols["admin"])
		return err
	}
	return cmd
}
