//go:build linux

package extension_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/test/cloud"
)

// extensionVariable says where the extension is that TestMain has built.
const extensionVariable = "EXTENSION"

// The test binary is also the function.
func TestMain(m *testing.M) {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		f := &function{atStart: read(context.Background(), cloud.Password)}
		lambda.Start(f.handle)
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "extension-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		var file string
		if file, err = cloud.BuildExtension(context.Background(), dir); err == nil {
			err = os.Setenv(extensionVariable, file)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// function reads secrets as code written for AWS's extension does.
type function struct {
	atStart answer
	client  *child
}

type question struct {
	Name    string `json:"name"`
	Way     string `json:"way"`     // in which to read it; "": as code written for AWS's extension
	AtStart bool   `json:"atStart"` // what was read before the first invocation is wanted
}

type answer struct {
	Status int           `json:"status"`
	Body   string        `json:"body"`
	Error  string        `json:"error"`
	Took   time.Duration `json:"took"`
}

func (f *function) handle(ctx context.Context, q question) (answer, error) {
	switch {
	case q.AtStart:
		return f.atStart, nil
	case q.Way == "":
		return read(ctx, q.Name), nil
	case os.Getenv(clientVariable) == "":
		return readBySDK(ctx, q.Name), nil
	}
	if f.client == nil {
		var err error
		if f.client, err = startChild(os.Getenv(clientVariable)); err != nil {
			return answer{}, err
		}
	}
	body, err := f.client.ask(q.Way + " " + q.Name)
	return answer{Body: body}, err
}

// readBySDK reads as Go functions do: the SDK finds the endpoint in the environment.
func readBySDK(ctx context.Context, name string) answer {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return answer{Error: err.Error()}
	}
	out, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name})
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Body: strconv.Quote(aws.ToString(out.SecretString))}
}

// clientVariable is the command of a program in another language that reads for the function, a JSON list.
const clientVariable = "CLIENT_COMMAND"

// A child is that program: it answers a line with a line.
type child struct {
	in  io.Writer
	out *bufio.Scanner
}

func startChild(command string) (*child, error) {
	var arguments []string
	if err := json.Unmarshal([]byte(command), &arguments); err != nil {
		return nil, err
	}
	c := exec.Command(arguments[0], arguments[1:]...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &child{in, bufio.NewScanner(out)}, c.Start()
}

func (c *child) ask(line string) (string, error) {
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		return "", err
	}
	if !c.out.Scan() {
		return "", fmt.Errorf("the client ended: %w", c.out.Err())
	}
	return c.out.Text(), nil
}

func read(ctx context.Context, name string) answer {
	return readFrom(ctx, "http://localhost:"+os.Getenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"), os.Getenv("AWS_SESSION_TOKEN"), name)
}

func readFrom(ctx context.Context, address, token, name string) (a answer) {
	began := time.Now()
	defer func() { a.Took = time.Since(began) }()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/secretsmanager/get?secretId="+url.QueryEscape(name), nil)
	if err != nil {
		return answer{Error: err.Error()}
	}
	request.Header.Set("X-Aws-Parameters-Secrets-Token", token)
	got, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Status: got.StatusCode, Body: string(body)}
}
