//go:build !lambdaartifact

package main

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

const logIn = "log in, as with aws sso login, or name a profile that is, with AWS_PROFILE"

// remedied says in words what a call of the broadcaster's function came to, and what mends it.
func remedied(err error, on aws.Config) error {
	var refusal smithy.APIError
	switch {
	case errors.As(err, new(*types.ResourceNotFoundException)):
		return fmt.Errorf("it is not in this account in %s: is it another --env, --domain, AWS_REGION or account? Else name it with --function", on.Region)
	case errors.Is(err, syscall.ECONNREFUSED) && on.BaseEndpoint != nil:
		return errors.New("nothing listens at the endpoint that is configured: start the demo again, or unset AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_LAMBDA")
	case !errors.As(err, &refusal):
		return err
	case slices.Contains([]string{"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}, refusal.ErrorCode()):
		return fmt.Errorf("AWS does not take these credentials (%s): %s", refusal.ErrorCode(), logIn)
	case refusal.ErrorCode() == "AccessDeniedException":
		return fmt.Errorf("%s: it takes a role with the domain's policy {env}-{domain}-secret-on-call-%s", refusal.ErrorMessage(), on.Region)
	}
	return err
}
