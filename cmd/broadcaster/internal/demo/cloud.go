package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
)

const (
	region  = "eu-west-2"
	account = "111122223333"
	env     = "demo"
)

// tablesOf are a domain's three tables.
func tablesOf(domain string) (changes, operations, reports string) {
	return env + "-" + domain + "-changes", env + "-" + domain + "-operations", env + "-" + domain + "-reports"
}

// A cloud is the part of AWS around one world that knows nothing of the story: tables, a Lambda host, and where both and
// Secrets Manager are reached.
type cloud struct {
	dir    string
	tables *tables.Tables
	client *awsdynamodb.Client // of the tables
	host   *functions.Host

	forFunctions, forBroadcasters string // URLs of what they call
	queueURL                      string

	servers []*http.Server
	mu      sync.Mutex
	files   []*os.File
}

// createTables makes the tables of the domains.
func (c *cloud) createTables(domains ...string) error {
	c.client = awsdynamodb.New(awsdynamodb.Options{
		Region: region, HTTPClient: &http.Client{Transport: c.tables.RoundTripper()},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "placeholder", SecretAccessKey: "placeholder"}, nil
		}),
	})
	for _, domain := range domains {
		changes, operations, reports := tablesOf(domain)
		if err := c.tables.CreateTables("pk", "sk", changes, operations, reports); err != nil {
			return err
		}
	}
	return nil
}

// serve makes what the functions and the broadcasters call.
func (c *cloud) serve(functions, broadcasters http.Handler) error {
	for _, s := range []struct {
		handler http.Handler
		url     *string
	}{{functions, &c.forFunctions}, {broadcasters, &c.forBroadcasters}} {
		server, url, err := listen(s.handler)
		if err != nil {
			return err
		}
		c.servers = append(c.servers, server)
		*s.url = url
	}
	return nil
}

// create makes a file of this world. It is closed with the cloud.
func (c *cloud) create(name string) (*os.File, error) {
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making a file: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files = append(c.files, file)
	return file, nil
}

// output is where a process's stdout and stderr go. Without a file they are lost, and the scan misses them: then the
// process had better not start unseen, so it writes where its writes fail.
func (c *cloud) output(function, environment string) io.Writer {
	file, err := c.create(filepath.Join("logs", strings.ReplaceAll(environment, "#", "-")+".log"))
	if err != nil {
		return failing{fmt.Errorf("keeping the output of %s: %w", function, err)}
	}
	return file
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// close ends every process and closes what was opened.
func (c *cloud) close() error {
	var errs []error
	if c.host != nil {
		errs = append(errs, c.host.Close())
	}
	for _, s := range c.servers {
		errs = append(errs, s.Close())
	}
	if c.tables != nil {
		errs = append(errs, c.tables.Close())
	}
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// deployBroadcaster makes a domain's broadcaster, which is this program, configured as in production.
func (c *cloud) deployBroadcaster(program, domain, manifest string, commands []string) error {
	changes, operations, reports := tablesOf(domain)
	return c.host.Deploy(functions.Function{
		Name: broadcasterOf(domain), Command: []string{program}, Timeout: patience, Aliases: append([]string{live}, commands...),
		Env: []string{
			"BROADCASTER_ENV=" + env,
			"BROADCASTER_DOMAIN=" + domain,
			"BROADCASTER_CHANGES_TABLE=" + changes,
			"BROADCASTER_OPERATIONS_TABLE=" + operations,
			"BROADCASTER_REPORTS_TABLE=" + reports,
			"BROADCASTER_QUEUE_URL=" + c.queueURL,
			"BROADCASTER_SUBSCRIPTIONS=" + manifest,
			"BROADCASTER_MAX_PUSHES=50",
			"BROADCASTER_PUSH_TIMEOUT=10s",
			"BROADCASTER_LOG_LEVEL=info",
			"AWS_ENDPOINT_URL_DYNAMODB=" + c.forBroadcasters,
			"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + c.forBroadcasters,
			"AWS_ENDPOINT_URL_LAMBDA=" + c.host.Endpoint(),
			"AWS_ENDPOINT_URL_SQS=" + c.forBroadcasters,
			"AWS_ENDPOINT_URL_STS=" + c.forBroadcasters,
		},
	})
}

// live is the alias that events come through.
const live = "live"

func broadcasterOf(domain string) string { return env + "-" + domain + "-broadcaster" }
