//go:build !lambdaartifact

package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print which build this is",
		Long:  "Print which build this is: the module's version, the revision it was built from, and Go's version.",
		Example: `  broadcaster version
  broadcaster version --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			is, out := thisBuild(), cmd.OutOrStdout()
			if asJSON {
				return json.NewEncoder(out).Encode(is)
			}
			_, err := fmt.Fprintln(out, is)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
