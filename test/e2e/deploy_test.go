package e2e

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

const root = "../.."

// live is the alias by which every service is invoked and subscribed.
const live = "live"

// trust is what every function's role has.
const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// A service is a domain team's function.
type service struct {
	name, domain string
	runtime      types.Runtime
	handler      string
	code         []byte // the zip
}

// services are who uses secrets: both clients, and one in a domain of a similar name.
func services(t *testing.T, dir string) []service {
	t.Helper()
	program := zipped(t, "bootstrap", goProgram(t, dir, "consumer", "./test/e2e/consumer", "lambda.norpc"))
	bundle := zipped(t, "index.js", typescript(t, dir))
	return []service{
		{"payments-go", "payments", types.RuntimeProvidedal2023, "bootstrap", program},
		{"payments-node", "payments", types.RuntimeNodejs20x, "index.handler", bundle},
		{"archive-go", "payments-archive", types.RuntimeProvidedal2023, "bootstrap", program},
	}
}

// run runs a program to its end, and returns what it prints.
func run(t *testing.T, dir string, environment []string, program string, arguments ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, arguments...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environment...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// goProgram builds a program for this machine, since it is here that the emulator runs functions, and returns its path.
func goProgram(t *testing.T, dir, name, source, tags string) string {
	t.Helper()
	path := filepath.Join(dir, "dist", name)
	run(t, root, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + runtime.GOARCH}, "go", "build", "-tags", tags, "-trimpath", "-o", path, source)
	return path
}

// typescript bundles the function of docs/subscribing.md by its command, with AWS's SDK, which Lambda's own runtime brings along
// and the emulator's does not, and with two variables that Lambda sets and the emulator does not. It returns the bundle's path.
func typescript(t *testing.T, dir string) string {
	t.Helper()
	client, err := filepath.Abs(filepath.Join(root, "subscribers/node"))
	if err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(client, "dist", "esm")
	if _, err := os.Stat(built); err != nil {
		t.Fatalf("the Node client is not built: run `make e2e`: %v", err)
	}
	path := filepath.Join(dir, "dist", "index.js")
	run(t, client, nil, filepath.Join(client, "node_modules/.bin/esbuild"), "test/subscribing/src/wrapped.ts", "--bundle", "--platform=node",
		"--log-level=warning", "--outfile="+path, `--banner:js=process.env.LAMBDA_TASK_ROOT = __dirname; process.env._HANDLER = "index.handler";`, "--alias:@aws-lambda-powertools/parameters/secrets="+filepath.Join(built, "powertools.js"),
		"--alias:@bank-platform/secret-broadcast="+filepath.Join(built, "index.js"))
	return path
}

func zipped(t *testing.T, name, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	archive := zip.NewWriter(&packed)
	header := &zip.FileHeader{Name: name, Method: zip.Deflate}
	header.SetMode(0o755)
	file, err := archive.CreateHeader(header)
	if err == nil {
		_, err = file.Write(content)
	}
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// stage makes a folder to deploy from: the templates and the script, manifests of the services' domains, the artifact for this
// machine, the AWS CLI. Two things are changed in the templates: a resource is left out, which the emulator does not know even
// where it is not made; and a number that is a parameter is written out, which the emulator takes for text.
func stage(t *testing.T, dir string, all []service) {
	t.Helper()
	write := func(name, content string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	left := regexp.MustCompile(`(?m)^  HintAccountsPolicy:\n(    .*\n)+`)
	for _, name := range []string{"deploy.sh", "domain.yaml", "platform.yaml", "stack-policy.json"} {
		content, err := os.ReadFile(filepath.Join(root, "infra", name))
		if err != nil {
			t.Fatal(err)
		}
		text := left.ReplaceAllString(string(content), "")
		write("infra/"+name, strings.ReplaceAll(text, "MaximumConcurrency: !Ref MaxConcurrency", "MaximumConcurrency: 3"), 0o600)
	}
	manifests := map[string]string{}
	for _, s := range all {
		if manifests[s.domain] == "" {
			manifests[s.domain] = fmt.Sprintf("apiVersion: secret-broadcaster/v1\nenv: prod\ndomain: %s\nowner: oncall@bank.example\nservices:\n", s.domain)
		}
		manifests[s.domain] += fmt.Sprintf("  - {name: %s, function: %q, secrets: [\"neon/*\"]}\n", s.name, s.name+":"+live)
	}
	for domain, manifest := range manifests {
		write("infra/subscriptions/prod/"+domain+".yaml", manifest, 0o600)
	}
	for name, manifests := range map[string]string{"broadcaster": filepath.Join(dir, "infra/subscriptions"), "canary": ""} {
		bootstrap := goProgram(t, dir, name+"/bootstrap", "./cmd/"+name, "lambda.norpc,lambdaartifact")
		run(t, root, nil, "go", "run", "./infra/pack", "-name", name, "-bootstrap", bootstrap, "-subscriptions", manifests, "-dist", filepath.Join(dir, "dist"))
	}
	// The address as an argument: of AWS_ENDPOINT_URL this CLI thinks no more when it sends to SQS. It looks every half a minute how a
	// stack is getting on, where this emulator takes a second, and names what it changes by the second.
	write("bin/aws", fmt.Sprintf(`#!/bin/sh
exec %s -c 'import sys, time, types
from awscli.clidriver import main
from awscli.customizations.cloudformation import deployer
deployer.time = types.SimpleNamespace(time=time.time_ns)
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.5))
sys.exit(main())' --endpoint-url "$AWS_ENDPOINT_URL" "$@"
`, variable(t, "AWS_PYTHON")), 0o700)
}

// deployBroadcasters deploys the domains as people do, to the Region that they say: where their AWS CLI would go is another.
func (w *world) deployBroadcasters() {
	w.Helper()
	environment := append(w.here(), "AWS_REGION="+region, "AWS_DEFAULT_REGION=us-east-1", "PLATFORM_PARAMETERS=Archive=false")
	first := append(slices.Clone(environment), "PARAMETERS=ReconcileMinutes=1", "TAGS=cost-centre=4711 'owner=Payments Team'")
	w.aFirstDeploymentFails(first)
	out := run(w.T, w.dir, first, "bash", "infra/deploy.sh", "prod", "--all")
	if got := strings.Count(out, "Successfully created/updated stack"); got != 4 { // each domain's twice: made, then its tables protected
		w.Fatalf("stacks were deployed %d times\n%s", got, out)
	}
	// The same again changes nothing, and what is not said again stays: parameters, tags.
	if out := run(w.T, w.dir, environment, "bash", "infra/deploy.sh", "prod", "payments"); !strings.Contains(out, "No changes to deploy") {
		w.Errorf("deployed again:\n%s", out)
	}
	run(w.T, w.dir, append(environment, "PARAMETERS=MemorySize=640"), "bash", "infra/deploy.sh", "prod", "payments")
	tags := w.cli("cloudformation", "describe-stacks", "--stack-name", "secret-broadcaster-prod-payments", "--query", "Stacks[0].Tags[].[Key,Value]", "--output", "text")
	if want := "cost-centre\t4711\nowner\tPayments Team\n"; tags != want {
		w.Errorf("after a change without TAGS the stack's are %q, want %q", tags, want)
	}
	// A parameter that another one needs is refused before anything is changed.
	if out, err := w.deploy(append(environment, "PARAMETERS=VpcSubnetIds=subnet-1"), "prod", "payments"); err == nil || !strings.Contains(out, "VpcSubnetIds needs VpcSecurityGroupIds") {
		w.Errorf("subnets without security groups: %v\n%s", err, out)
	}
}

// aFirstDeploymentFails at one of its last parts, an alias whose name is taken: nothing of it stays that would be in the
// way of the next one, once the stack is removed as deploy.sh says.
func (w *world) aFirstDeploymentFails(environment []string) {
	w.Helper()
	template := filepath.Join(w.dir, "infra/domain.yaml")
	right, err := os.ReadFile(template)
	w.must(err)
	w.must(os.WriteFile(template, bytes.Replace(right, []byte("Name: apply}"), []byte("Name: live}"), 1), 0o600))
	if out, err := w.deploy(environment, "prod", "--all"); err == nil || !strings.Contains(out, "DeletionProtection=false") {
		w.Fatalf("it does not fail: %v\n%s", err, out)
	}
	w.must(os.WriteFile(template, right, 0o600))
	if tables := w.cli("dynamodb", "list-tables", "--query", "TableNames", "--output", "text"); strings.TrimSpace(tables) != "" {
		w.Errorf("tables that are left: %s", tables)
	}
	out, err := w.deploy(environment, "prod", "payments-archive")
	_, remedy, found := strings.Cut(strings.TrimSpace(out), "then remove it: aws ")
	if err == nil || !found {
		w.Fatalf("the remedy is not said: %v\n%s", err, out)
	}
	w.cli(strings.Fields(remedy)...)
}

// deploy runs deploy.sh, which may fail.
func (w *world) deploy(environment []string, arguments ...string) (string, error) {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), "bash", append([]string{"infra/deploy.sh"}, arguments...)...)
	cmd.Dir, cmd.Env = w.dir, append(os.Environ(), environment...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// cli runs the AWS CLI in the Region of the test.
func (w *world) cli(arguments ...string) string {
	w.Helper()
	return run(w.T, w.dir, w.here(), filepath.Join(w.dir, "bin/aws"), arguments...)
}

// deployServices deploys what domain teams have: a role with the domain's client policy, the code, the client's variables, and the
// tags that a wrapped handler stands for.
func (w *world) deployServices() {
	w.Helper()
	for _, s := range w.services {
		role, err := w.roles.CreateRole(w.Context(), &iam.CreateRoleInput{RoleName: &s.name, AssumeRolePolicyDocument: aws.String(trust)})
		w.must(err)
		_, err = w.roles.AttachRolePolicy(w.Context(), &iam.AttachRolePolicyInput{RoleName: &s.name, PolicyArn: clientPolicy(s.domain)})
		w.must(err)
		made, err := w.functions.CreateFunction(w.Context(), &lambda.CreateFunctionInput{
			FunctionName: &s.name, Runtime: s.runtime, Handler: &s.handler, Code: &types.FunctionCode{ZipFile: s.code}, Publish: true,
			Role: role.Role.Arn, Timeout: aws.Int32(30),
			Tags: map[string]string{invalidation.PushTag: "true", invalidation.EnvTag: "prod", invalidation.DomainTag: s.domain},
			Environment: &types.Environment{Variables: map[string]string{
				"POWERTOOLS_SERVICE_NAME": s.name, "POWERTOOLS_PARAMETERS_MAX_AGE": "300", "SECRET_BROADCAST_ENV": "prod", "SECRET_BROADCAST_DOMAIN": s.domain,
				"SECRET_BROADCAST_TABLE": "prod-" + s.domain + "-changes", "SECRET_BROADCAST_REPORTS_TABLE": "prod-" + s.domain + "-reports",
			}},
		})
		w.must(err)
		_, err = w.functions.CreateAlias(w.Context(), &lambda.CreateAliasInput{FunctionName: &s.name, Name: aws.String(live), FunctionVersion: made.Version})
		w.must(err)
	}
}

// clientPolicy is the ARN of what a domain's stack has for the roles of its functions.
func clientPolicy(domain string) *string {
	return aws.String("arn:aws:iam::" + account + ":policy/prod-" + domain + "-secret-client-" + region)
}
