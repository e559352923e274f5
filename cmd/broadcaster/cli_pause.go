//go:build !lambdaartifact

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/sts"
)

func newPause() *cobra.Command {
	return newOrder(pauseCommand, "Hold a domain's pushes back, without a deployment", `Hold a domain's pushes back, without a deployment.

Changes are still confirmed and appended: every environment finds them in the log at its next read, at most CheckEvery
later. Only the pushes wait, as pending deliveries with the reason "paused", until broadcaster resume.
Who paused, when and why is recorded in the operations table; who, as AWS authenticated it.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		`  broadcaster pause --env prod --domain payments --reason 'INC-4711: payments-api fails on every push'
  broadcaster pause --env prod --domain payments --reason 'try it' --dry-run
  broadcaster pause --env prod --domain payments --reason 'INC-4711' --json`)
}

func newResume() *cobra.Command {
	return newOrder(resumeCommand, "Send a domain's pushes again that were held back", `Send a domain's pushes again that were held back.

Nothing was lost: one push of the newest revision tells each function of everything that it missed. What cannot be
delivered at once stays pending and is tried again. Who resumed, when and why is recorded as with broadcaster pause.

Exit codes: 0 done, 1 failed, 2 the command line cannot be understood.`,
		`  broadcaster resume --env prod --domain payments --reason 'INC-4711: payments-api 1.2.1 is live'
  broadcaster resume --env prod --domain payments --reason 'try it' --dry-run`)
}

// newOrder is a command that the broadcaster itself carries out.
func newOrder(name, short, long, examples string) *cobra.Command {
	var (
		o        = order{Name: name}
		function string
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use: name, Short: short, Long: long, Example: examples, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Env == "" || o.Domain == "" {
				return usageError{"name the broadcaster with --env and --domain"}
			}
			if err := o.check(); err != nil {
				return usageError{err.Error()}
			}
			if function == "" {
				function = functionOf(o.Env, o.Domain)
			}
			answer, err := send(cmd.Context(), function, o)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			return answer.print(cmd.OutOrStdout(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Env, "env", "", "the broadcaster's env, as prod")
	flags.StringVar(&o.Domain, "domain", "", "the broadcaster's domain, as payments")
	flags.StringVar(&o.Reason, "reason", "", "why; it is recorded")
	flags.BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and change nothing")
	flags.StringVar(&function, "function", "", "the broadcaster's function, by name or ARN without an alias (default {env}-{domain}-broadcaster)")
	flags.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

var errNoRegion = errors.New("no Region is configured: set AWS_REGION")

// functionOf is what a domain's broadcaster is called unless somebody called it otherwise.
func functionOf(env, domain string) string { return env + "-" + domain + "-broadcaster" }

// send has the broadcaster carry out an order.
func send(ctx context.Context, function string, o order) (commandAnswer, error) {
	on, err := awsconfig.LoadDefaultConfig(ctx)
	switch {
	case err != nil:
		return commandAnswer{}, fmt.Errorf("loading the AWS configuration: %w", err)
	case on.Region == "":
		return commandAnswer{}, errNoRegion
	}
	proof, err := sts.Prove(ctx, awssts.NewFromConfig(on), o.digest())
	if err != nil {
		return commandAnswer{}, err
	}
	payload, err := json.Marshal(commandPayload{&command{Order: o, Proof: proof}})
	if err != nil {
		return commandAnswer{}, fmt.Errorf("encoding the command: %w", err)
	}
	// Retries would be of a command that may have been carried out: harmless, but each is recorded.
	client := awslambda.NewFromConfig(on, func(opts *awslambda.Options) { opts.Retryer = aws.NopRetryer{} })
	out, err := client.Invoke(ctx, &awslambda.InvokeInput{FunctionName: &function, Qualifier: &o.Name, Payload: payload})
	if err != nil {
		return commandAnswer{}, fmt.Errorf("invoking %s:%s: %w", function, o.Name, err)
	}
	if out.FunctionError != nil {
		var failure struct {
			Message string `json:"errorMessage"`
		}
		_ = json.Unmarshal(out.Payload, &failure) // without a message its kind has to do
		return commandAnswer{}, fmt.Errorf("the broadcaster refuses or fails (%s): %s", *out.FunctionError, failure.Message)
	}
	var answer commandAnswer
	if err := json.Unmarshal(out.Payload, &answer); err != nil || answer.Name != o.Name {
		return commandAnswer{}, fmt.Errorf("%s answers with something else than a broadcaster does: is it one?", function)
	}
	return answer, nil
}

// print says what the broadcaster did.
func (a commandAnswer) print(out io.Writer, o order) error {
	lines := []string{"was: " + pauseText(a.Was), "is:  " + pauseText(a.Is)}
	if a.DryRun {
		lines = []string{"is:           " + pauseText(a.Was), "would become: " + pauseText(a.Is)}
	}
	lines = append(lines, fmt.Sprintf("revisions of %s/%s with deliveries left: %d", o.Env, o.Domain, a.OpenFanouts))
	if a.Problem != "" {
		lines = append(lines, "problem: "+a.Problem)
	}
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

func pauseText(p invalidation.Pause) string {
	how := "pushed"
	if p.Paused {
		how = "paused"
	}
	if p.At.IsZero() {
		return how
	}
	return fmt.Sprintf("%s since %s, by %s: %s", how, p.At.Format(time.RFC3339), p.By, p.Reason)
}
