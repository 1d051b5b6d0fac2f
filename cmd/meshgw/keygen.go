package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

const gossipKeySize = 32 // AES-256

func keygenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Print a new gossip key, or write a keyring that holds one",
		Example: `  meshgw keygen
  meshgw keygen --keyring keyring.json && meshgw agent --keyring keyring.json`,
		Args: noArgs,
	}
	keyring := cmd.Flags().String("keyring", "", "write a new keyring `FILE` with the key instead of printing it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *keyring != "" {
			return writeKeyring(*keyring)
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), newKey())
		return err
	}
	return cmd
}

func newKey() string {
	key := make([]byte, gossipKeySize)
	_, _ = rand.Read(key) // never fails, as crypto/rand promises
	return base64.StdEncoding.EncodeToString(key)
}

// writeKeyring makes a keyring file with a new key. It overwrites none: a lost
// key is a mesh that cannot be joined.
func writeKeyring(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make keyring: %w", err)
	}
	_, err = fmt.Fprintf(f, "[%q]\n", newKey())
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write keyring: %w", err)
	}
	return nil
}
