//go:build !lambdaartifact

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newCompletion prints a shell's completion script. Cobra's own command of this name takes an unknown shell for a request
// for help.
func newCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion <" + strings.Join(shells, "|") + ">",
		Short: "Print the completion script of a shell",
		Example: `  source <(broadcaster completion bash)
  broadcaster completion zsh > "${fpath[1]}/_broadcaster"
  broadcaster completion fish > ~/.config/fish/completions/broadcaster.fish
  broadcaster completion powershell | Out-String | Invoke-Expression`,
		ValidArgs: shells,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{"name one shell: " + strings.Join(shells, ", ")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			default:
				return usageError{fmt.Sprintf("unknown shell %q: the shells are %s", args[0], strings.Join(shells, ", "))}
			}
		},
	}
}
