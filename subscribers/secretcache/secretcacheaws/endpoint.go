package secretcacheaws

import (
	"context"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// What AWS's configuration calls the two services (https://docs.aws.amazon.com/sdkref/latest/guide/ss-endpoints-table.html).
const (
	endpointVariable = "AWS_ENDPOINT_URL"
	secretsManagerID = "Secrets Manager"
	dynamoDBID       = "DynamoDB"
)

// endpoint returns the endpoint that is configured for a service, or "". It resolves as the SDK's own clients do: the
// service's own setting before the one for all services, the environment before shared configuration files.
func (s *settings) endpoint(cfg aws.Config, sdkID string) string {
	variable := endpointVariable + "_" + strings.ToUpper(strings.ReplaceAll(sdkID, " ", "_"))
	ignored := s.isTrue("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") || first(cfg, func(source interface {
		GetIgnoreConfiguredEndpoints(ctx context.Context) (bool, bool, error)
	},
	) (bool, bool, error) {
		return source.GetIgnoreConfiguredEndpoints(context.Background())
	})
	found := ""
	switch {
	case ignored:
	case s.getenv(variable) != "":
		found = s.getenv(variable)
	case s.getenv(endpointVariable) != "":
		variable = endpointVariable
		found = s.getenv(endpointVariable)
	default:
		variable = "endpoint_url of " + sdkID
		found = first(cfg, func(source interface {
			GetServiceBaseEndpoint(ctx context.Context, sdkID string) (string, bool, error)
		},
		) (string, bool, error) {
			return source.GetServiceBaseEndpoint(context.Background(), sdkID)
		})
	}
	if found == "" || variable == endpointVariable && cfg.BaseEndpoint != nil {
		variable = "BaseEndpoint of the AWS configuration"
		found = aws.ToString(cfg.BaseEndpoint)
	}
	if found == "" {
		return ""
	}
	u, err := url.Parse(found)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		s.problem("%s is no URL to call %s at: set it to something like https://host, or unset it", variable, sdkID)
	}
	return found
}

// dynamoDBEndpoint returns the URL of every request to DynamoDB.
func (s *settings) dynamoDBEndpoint(cfg aws.Config) string {
	if configured := s.endpoint(cfg, dynamoDBID); configured != "" {
		return strings.TrimRight(configured, "/") + "/"
	}
	fips := s.isTrue("AWS_USE_FIPS_ENDPOINT") || first(cfg, func(source interface {
		GetUseFIPSEndpoint(ctx context.Context) (aws.FIPSEndpointState, bool, error)
	},
	) (aws.FIPSEndpointState, bool, error) {
		return source.GetUseFIPSEndpoint(context.Background())
	}) == aws.FIPSEndpointStateEnabled
	dualStack := s.isTrue("AWS_USE_DUALSTACK_ENDPOINT") || first(cfg, func(source interface {
		GetUseDualStackEndpoint(ctx context.Context) (aws.DualStackEndpointState, bool, error)
	},
	) (aws.DualStackEndpointState, bool, error) {
		return source.GetUseDualStackEndpoint(context.Background())
	}) == aws.DualStackEndpointStateEnabled
	suffix, dualSuffix := domainsOf(cfg.Region)
	host := "dynamodb"
	if fips && (dualStack || !strings.HasPrefix(cfg.Region, "us-gov-")) { // there the plain endpoint is the validated one
		host = "dynamodb-fips"
	}
	if dualStack {
		suffix = dualSuffix
	}
	return "https://" + host + "." + cfg.Region + "." + suffix + "/"
}

// domainsOf returns the domains of a Region's partition: for the usual endpoints and for dual-stack ones
// (https://docs.aws.amazon.com/general/latest/gr/ddb.html). For a partition that is not here the endpoint must be
// configured.
func domainsOf(region string) (usual, dualStack string) {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "amazonaws.com.cn", "api.amazonwebservices.com.cn"
	case strings.HasPrefix(region, "eusc-"):
		return "amazonaws.eu", "api.amazonwebservices.eu"
	default:
		return "amazonaws.com", "api.aws"
	}
}

func (s *settings) isTrue(variable string) bool { return strings.EqualFold(s.getenv(variable), "true") }

// first asks the sources of an AWS configuration, as the SDK's clients do, and returns the first answer.
func first[Source, Value any](cfg aws.Config, ask func(Source) (Value, bool, error)) Value {
	for _, candidate := range cfg.ConfigSources {
		if source, ok := candidate.(Source); ok {
			if value, found, err := ask(source); found && err == nil {
				return value
			}
		}
	}
	var none Value
	return none
}
