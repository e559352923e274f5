package lambda

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
)

// Functions implements invalidation.Functions and history.Timeouts. It is safe for concurrent use.
type Functions struct{ client *lambda.Client }

var (
	_ invalidation.Functions = (*Functions)(nil)
	_ history.Timeouts       = (*Functions)(nil)
)

// NewFunctions returns a Functions that uses the client.
func NewFunctions(client *lambda.Client) *Functions { return &Functions{client} }

// Look implements invalidation.Functions. It asks for the function's configuration and tags, and, of an alias, for the
// versions that its invocations may run.
func (f *Functions) Look(ctx context.Context, function string) (invalidation.FunctionState, error) {
	name, qualifier := split(function)
	versions := []string{qualifier}
	if qualifier != "" && !isVersion(qualifier) {
		var err error
		if versions, err = f.versionsOf(ctx, name, qualifier); err != nil {
			return invalidation.FunctionState{}, err
		}
	}
	var state invalidation.FunctionState
	for _, version := range versions {
		v, arn, err := f.version(ctx, name, version)
		if err != nil {
			return invalidation.FunctionState{}, err
		}
		state.ARN = arn
		state.Versions = append(state.Versions, v)
	}
	tags, err := f.client.ListTags(ctx, &lambda.ListTagsInput{Resource: &state.ARN})
	if err != nil {
		return invalidation.FunctionState{}, classed(err)
	}
	state.Tags = tags.Tags
	return state, nil
}

// versionsOf returns the versions that an alias sends invocations to
// (https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html).
func (f *Functions) versionsOf(ctx context.Context, name, alias string) ([]string, error) {
	out, err := f.client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &name, Name: &alias})
	if err != nil {
		return nil, classed(err)
	}
	versions := []string{aws.ToString(out.FunctionVersion)}
	if out.RoutingConfig != nil {
		versions = append(versions, slices.Sorted(maps.Keys(out.RoutingConfig.AdditionalVersionWeights))...)
	}
	return versions, nil
}

// version returns a version, and the ARN of its function.
func (f *Functions) version(ctx context.Context, name, version string) (invalidation.FunctionVersion, string, error) {
	input := &lambda.GetFunctionConfigurationInput{FunctionName: &name}
	if version != "" {
		input.Qualifier = &version
	}
	out, err := f.client.GetFunctionConfiguration(ctx, input)
	if err != nil {
		return invalidation.FunctionVersion{}, "", classed(err)
	}
	modified, err := time.Parse("2006-01-02T15:04:05.000-0700", aws.ToString(out.LastModified))
	if err != nil {
		return invalidation.FunctionVersion{}, "", fmt.Errorf("reading when function %s was modified: %w", name, err)
	}
	arn, _ := split(aws.ToString(out.FunctionArn))
	return invalidation.FunctionVersion{Version: aws.ToString(out.Version), Modified: modified}, arn, nil
}

// Timeout implements history.Timeouts.
func (f *Functions) Timeout(ctx context.Context, function string) (time.Duration, error) {
	name, qualifier := split(function)
	input := &lambda.GetFunctionConfigurationInput{FunctionName: &name}
	if qualifier != "" {
		input.Qualifier = &qualifier
	}
	out, err := f.client.GetFunctionConfiguration(ctx, input)
	if err != nil {
		return 0, classed(err)
	}
	return time.Duration(aws.ToInt32(out.Timeout)) * time.Second, nil
}

// split takes the qualifier off a function's name, partial ARN or ARN, in the forms that Lambda takes
// (https://docs.aws.amazon.com/lambda/latest/api/API_GetFunctionConfiguration.html).
func split(function string) (name, qualifier string) {
	before, after, partial := strings.Cut(function, "function:")
	if !partial {
		name, qualifier, _ = strings.Cut(function, ":")
		return name, qualifier
	}
	name, qualifier, _ = strings.Cut(after, ":")
	return before + "function:" + name, qualifier
}

// isVersion tells a version from an alias, whose name is never a number.
func isVersion(qualifier string) bool {
	return qualifier == "$LATEST" || strings.Trim(qualifier, "0123456789") == ""
}
