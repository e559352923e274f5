//go:build !lambdaartifact

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/lambda"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// A validation is what --json prints.
type validation struct {
	Files    []string              `json:"files"`
	Problems []subscribers.Problem `json:"problems"`
}

func newValidate() *cobra.Command {
	var (
		onAWS, asJSON bool
		annotations   string
	)
	cmd := &cobra.Command{
		Use:   "validate FILE|DIRECTORY...",
		Short: "Say everything that is wrong with manifests",
		Long: `Say everything that is wrong with manifests: of a directory, all *.yaml and *.yml in it and below.

Each problem is a line that begins with file:line:column. Nothing but the files is needed; with --aws, the functions
that they name are looked at too: whether they exist in this account and Region, and have the tags without which nothing
is pushed to them. In GitHub Actions each problem is an annotation.

Exit codes: 0 nothing is wrong, 1 something is, 2 the command line cannot be understood.`,
		Example: `  broadcaster subscriptions validate infra/subscriptions
  broadcaster subscriptions validate infra/subscriptions/prod/payments.yaml --aws
  broadcaster subscriptions validate infra/subscriptions --annotations github`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{cmd.CommandPath() + " takes manifests, or directories of them"}
			}
			return nil
		},
		ValidArgsFunction: completeManifests,
		RunE: func(cmd *cobra.Command, args []string) error {
			github, err := annotates(annotations)
			if err != nil {
				return err
			}
			v, err := validate(cmd.Context(), args, onAWS)
			if err != nil {
				return err
			}
			if err := v.print(cmd.OutOrStdout(), asJSON, github); err != nil {
				return err
			}
			if n := len(v.Problems); n > 0 {
				return fmt.Errorf("manifests are wrong (problems: %d)", n)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&onAWS, "aws", false, "look at the functions too, with the credentials and the Region of the AWS CLI")
	cmd.Flags().StringVar(&annotations, "annotations", "auto", "how problems are printed: github, none, or auto (github in GitHub Actions)")
	_ = cmd.RegisterFlagCompletionFunc("annotations", cobra.FixedCompletions([]string{"auto", "github", "none"}, cobra.ShellCompDirectiveNoFileComp))
	jsonFlag(cmd, &asJSON)
	return cmd
}

func annotates(how string) (github bool, err error) {
	switch how {
	case "auto":
		return os.Getenv("GITHUB_ACTIONS") == "true", nil // https://docs.github.com/en/actions/reference/workflows-and-actions/variables
	case "github", "none":
		return how == "github", nil
	}
	return false, usageError{"--annotations is auto, github or none"}
}

// validate reads files and directories. Its error is that of looking, not of what was found.
func validate(ctx context.Context, args []string, onAWS bool) (validation, error) {
	paths, err := manifestsIn(args)
	if err != nil {
		return validation{}, err
	}
	v := validation{Files: paths, Problems: []subscribers.Problem{}}
	all, err := subscribers.ReadAll(files{}, paths)
	if err := v.take(err); err != nil {
		return v, err
	}
	if !onAWS {
		return v, nil
	}
	on, err := awsconfig.LoadDefaultConfig(ctx)
	switch {
	case err != nil:
		return v, fmt.Errorf("loading the AWS configuration: %w", err)
	case on.Region == "":
		return v, errNoRegion
	}
	caller, err := awssts.NewFromConfig(on).GetCallerIdentity(ctx, &awssts.GetCallerIdentityInput{}) // whose functions are meant; it needs no permission
	if err != nil {
		return v, fmt.Errorf("asking whose credentials these are: %w", err)
	}
	here, err := arn.Parse(aws.ToString(caller.Arn))
	if err != nil {
		return v, fmt.Errorf("reading whose credentials these are: %w", err)
	}
	functions := lambda.NewTags(awslambda.NewFromConfig(on), here, on.Region)
	for _, f := range all {
		problems, err := history.WrongFunctions(ctx, f, functions)
		if err != nil {
			return v, err
		}
		v.Problems = append(v.Problems, problems...)
	}
	return v, nil
}

// manifestsIn returns the files that arguments name, and the manifests in the directories.
func manifestsIn(args []string) ([]string, error) {
	var paths []string
	for _, arg := range args {
		err := filepath.WalkDir(arg, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && path != arg && strings.HasPrefix(entry.Name(), "."):
				return fs.SkipDir
			case path == arg && !entry.IsDir(), !entry.IsDir() && subscribers.IsManifest(path):
				paths = append(paths, path)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading subscriptions: %w", err)
		}
	}
	if len(paths) == 0 {
		return nil, errNoManifest
	}
	return paths, nil
}

// take notes the problems that an error joins. It returns what is none.
func (v *validation) take(err error) error {
	var problem subscribers.Problem
	switch joined, many := err.(interface{ Unwrap() []error }); {
	case err == nil:
		return nil
	case many:
		for _, one := range joined.Unwrap() {
			if err := v.take(one); err != nil {
				return err
			}
		}
		return nil
	case errors.As(err, &problem):
		v.Problems = append(v.Problems, problem)
		return nil
	default:
		return err
	}
}

func (v validation) print(out io.Writer, asJSON, github bool) error {
	if asJSON {
		return printJSON(out, v)
	}
	for _, p := range v.Problems {
		line := p.Error()
		if github {
			line = annotation(p)
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

// annotation is a problem as GitHub Actions shows it at its line
// (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands).
func annotation(p subscribers.Problem) string {
	text := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	return fmt.Sprintf("::error file=%s,line=%d,col=%d::%s", property.Replace(p.File), p.Line, p.Column, text.Replace(p.Text))
}
