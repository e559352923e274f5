package infra

import (
	"archive/zip"
	"bytes"
	"context"
	"debug/elf"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"
)

// tool runs a program in a folder and returns what it prints.
func tool(t testing.TB, dir string, environment []string, program string, arguments ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, arguments...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environment...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func fileIn(t testing.TB, dir, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestPackageIsReproducible: make package gives the same bytes in another folder, linked anew.
func TestPackageIsReproducible(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	for _, dist := range []string{first, second} {
		tool(t, root, []string{"MAKEFLAGS="}, "make", "package", "DIST="+dist)
	}
	for _, name := range []string{"broadcaster.zip", "broadcaster.cdx.json", "canary.zip", "canary.cdx.json"} {
		if !bytes.Equal(fileIn(t, first, name), fileIn(t, second, name)) {
			t.Errorf("%s is not the same twice", name)
		}
	}
	manifests, err := filepath.Glob(filepath.Join(root, "infra/subscriptions/*/*.yaml"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("finding manifests: %v, %v", manifests, err)
	}
	want := []string{"bootstrap"}
	for _, manifest := range manifests {
		want = append(want, "subscriptions/"+filepath.Base(filepath.Dir(manifest))+"/"+filepath.Base(manifest))
	}
	wantPacked(t, fileIn(t, first, "broadcaster.zip"), want)
	wantPacked(t, fileIn(t, first, "canary.zip"), want[:1])
}

// wantPacked: these files and no others, the first of them a program for arm64.
func wantPacked(t *testing.T, content []byte, want []string) {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	var packed []string
	for _, file := range archive.File {
		packed = append(packed, file.Name)
		if mode := map[bool]os.FileMode{true: 0o755, false: 0o644}[file.Name == "bootstrap"]; file.Mode() != mode || file.Modified.Year() != 1980 {
			t.Errorf("%s is of mode %v and of %v", file.Name, file.Mode(), file.Modified)
		}
	}
	if !slices.Equal(want, packed) {
		t.Errorf("packed are %v, want %v", packed, want)
	}
	file, err := archive.Open("bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	program, err := elf.NewFile(bytes.NewReader(text))
	if err != nil || program.Machine != elf.EM_AARCH64 {
		t.Errorf("the binary is for %v: %v", program.Machine, err)
	}
}

// TestTheBillOfMaterialsIsTheBinarys: as go version -m reads it, and valid by CycloneDX's own schema.
func TestTheBillOfMaterialsIsTheBinarys(t *testing.T) {
	dist := t.TempDir()
	tool(t, root, []string{"MAKEFLAGS="}, "make", "package", "DIST="+dist)
	for name, program := range map[string]string{"broadcaster.cdx.json": "bootstrap", "canary.cdx.json": "canary/bootstrap"} {
		var bill struct {
			Components []struct{ Name, Version string }
		}
		if err := json.Unmarshal(fileIn(t, dist, name), &bill); err != nil {
			t.Fatal(err)
		}
		var listed, linked []string
		for _, c := range bill.Components {
			if c.Name != "std" {
				listed = append(listed, c.Name+" "+c.Version)
			}
		}
		for line := range strings.Lines(tool(t, root, nil, "go", "version", "-m", filepath.Join(dist, program))) {
			if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "dep" {
				linked = append(linked, fields[1]+" "+fields[2])
			}
		}
		if !slices.Equal(linked, listed) || len(linked) < 10 {
			t.Errorf("%s: listed are %v, linked are %v", name, listed, linked)
		}
		script := `import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(str(wrong) if wrong else 0)`
		tool(t, root, nil, variable(t, "LINT_PYTHON"), "-c", script, filepath.Join(dist, name))
	}
}

func TestAnInvalidManifestIsNotPacked(t *testing.T) {
	for name, content := range map[string]string{
		"prod/payments.yaml": "apiVersion: secret-broadcaster/v1\nenv: prod\ndomain: kyc\nowner: a\nservices: []\n",
		"prod/kyc/a.yaml":    "",
		"prod/notes.txt":     "",
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "go", "run", "./infra/pack", "-bootstrap", "go.mod", "-subscriptions", dir, "-dist", dir)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "manifest") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestADryRunSaysWhatWouldBeDone: and does nothing, also where there is no AWS CLI.
func TestADryRunSaysWhatWouldBeDone(t *testing.T) {
	run := func(arguments ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{"infra/deploy.sh"}, arguments...)...)
		cmd.Dir = root
		cmd.Env = []string{"DRY_RUN=1", "ARTIFACT_KEY=artifacts/1.zip", "PARAMETERS=MemorySize=1024 Tracing=Active", "TAGS=cost-centre=4711", "PATH=/usr/bin:/bin"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("prod", "--all")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	manifests, _ := filepath.Glob(filepath.Join(root, "infra/subscriptions/prod/*.yaml"))
	if got, want := strings.Count(out, "--template-file infra/domain.yaml"), len(manifests); got != want || want == 0 {
		t.Errorf("%d domains are deployed, %d have a manifest:\n%s", got, want, out)
	}
	for _, part := range []string{
		"--stack-name secret-broadcaster-prod --template-file infra/platform.yaml", "--stack-name secret-broadcaster-prod-risk-platform",
		"ArtifactKey=artifacts/1.zip MemorySize=1024 Tracing=Active", "--tags cost-centre=4711", "--stack-policy-body file://infra/stack-policy.json",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("nothing is said of %q:\n%s", part, out)
		}
	}
	if strings.Contains(out, "CanaryArtifactKey") {
		t.Errorf("an older broadcaster brings an older canary:\n%s", out)
	}
	if out, err := run("prod", "payments"); err != nil || strings.Contains(out, "platform.yaml") || strings.Count(out, "domain.yaml") != 1 {
		t.Errorf("one domain: %v\n%s", err, out)
	}
	for _, wrong := range [][]string{{"prod"}, {"", "payments"}, {"nowhere", "payments"}, {"prod", "nobody"}} {
		if out, err := run(wrong...); err == nil || strings.Contains(out, "+ aws") {
			t.Errorf("%v is taken:\n%s", wrong, out)
		}
	}
}

// TestTemplatesCanBeSentAsTheyAre: CloudFormation takes 51,200 bytes without a bucket.
func TestTemplatesCanBeSentAsTheyAre(t *testing.T) {
	for _, file := range templates(t) {
		if text := fileIn(t, "", file); len(text) > 51_200 {
			t.Errorf("%s is of %d bytes", file, len(text))
		}
	}
}

// TestDeployedDomainsFollowTheirSecrets deploys by infra/deploy.sh with the AWS CLI to the emulator, changes a secret of one domain
// by Secrets Manager's API, and finds the change in this domain's log and in no other's. Then this domain's canary does the same
// by itself, and is served.
//
// What the emulator cannot, by name: it does not know AWS::Events::Archive and AWS::Events::EventBusPolicy, so these two are left
// out; it runs the binary on this machine, so the binary is built for this machine; it does not tell a Go function where it is, so
// the function's environment says it; of an event source it takes a number that is a parameter for text, so MaximumConcurrency is
// written out. IAM and stack policies it does not enforce: the tests beside this one judge them. Schedules of minutes are not
// waited for: the test invokes the canary itself.
func TestDeployedDomainsFollowTheirSecrets(t *testing.T) {
	endpoint := variable(t, "MINISTACK_ENDPOINT")
	const here = "222233334444" // an account of this test's own
	dir := t.TempDir()
	prepare(t, dir, endpoint, "payments", "payments-archive", "kyc")
	environment := []string{
		"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "AWS_ENDPOINT_URL=" + endpoint, "AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region,
		"AWS_ACCESS_KEY_ID=" + here, "AWS_SECRET_ACCESS_KEY=x", "AWS_PAGER=", "PLATFORM_PARAMETERS=Archive=false",
	}
	out := tool(t, dir, environment, "bash", "infra/deploy.sh", "dev", "--all")
	if got := strings.Count(out, "Successfully created/updated stack"); got != 4 {
		t.Fatalf("%d stacks were deployed\n%s", got, out)
	}
	// The same again changes nothing.
	out = tool(t, dir, environment, "bash", "infra/deploy.sh", "dev", "payments")
	if !strings.Contains(out, "No changes to deploy") {
		t.Errorf("deployed again:\n%s", out)
	}
	// A parameter that another one needs is refused before anything is changed.
	alone := exec.CommandContext(t.Context(), "bash", "infra/deploy.sh", "dev", "kyc")
	alone.Dir, alone.Env = dir, append(append(os.Environ(), environment...), "PARAMETERS=VpcSubnetIds=subnet-1")
	if out, err := alone.CombinedOutput(); err == nil || !strings.Contains(string(out), "VpcSubnetIds needs VpcSecurityGroupIds") {
		t.Errorf("subnets without security groups: %v\n%s", err, out)
	}

	on := aws.Config{Region: region, BaseEndpoint: aws.String(endpoint), Credentials: credentials.NewStaticCredentialsProvider(here, "x", "")}
	vault, tables := secretsmanager.NewFromConfig(on), dynamodb.NewFromConfig(on)
	name := "/bank/dev/payments/neon/connection-string"
	if _, err := vault.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("first")}); err != nil {
		t.Fatal(err)
	}
	put, err := vault.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &name, SecretString: aws.String("second")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	rows := rowsWith(ctx, t, tables, "dev-payments-changes", *put.VersionId)
	if !strings.Contains(rows, name) || strings.Contains(rows, "first") || strings.Contains(rows, "second") {
		t.Errorf("the log says %s", rows)
	}
	functions, served := lambda.NewFromConfig(on), map[string]bool{}
	for range 3 { // the first makes the second version, the others move AWSCURRENT between the two
		answer, log := canaryRuns(ctx, t, functions, "dev-payments-canary")
		var run struct{ Secret, VersionID string }
		if err := json.Unmarshal([]byte(answer), &run); err != nil || run.Secret != "/bank/dev/payments/secret-broadcaster/canary" {
			t.Fatalf("%v: %s", err, answer)
		}
		if !strings.Contains(log, `"CanarySucceeded":1`) || !strings.Contains(log, `"ChangeToServed":`) {
			t.Errorf("it measured nothing:\n%s", log)
		}
		served[run.VersionID] = true
		rowsWith(ctx, t, tables, "dev-payments-changes", run.VersionID)
	}
	if len(served) != 2 {
		t.Errorf("it was served %v", served)
	}
	// What a deployed domain is like, the doctor finds too. Here is no trail and no tick yet, and the emulator's CloudFormation
	// leaves out recovery and expiry.
	wrong := []string{
		"trail: no trail logs management events that write: deletions, restorations and failed rotations are not told of",
		"table dev-payments-changes: it has no point-in-time recovery",
		"table dev-payments-operations: it has no point-in-time recovery",
		"table dev-payments-reports: reports do not expire",
		"ticks: no tick has looked for missed changes to its end",
	}
	if diff := cmp.Diff(wrong, theDoctorFinds(t, environment, "payments")); diff != "" {
		t.Errorf("doctor (-want +got):\n%s", diff)
	}
	for _, other := range []string{"dev-payments-archive-changes", "dev-kyc-changes"} {
		if rows := logOf(t.Context(), t, tables, other); strings.Contains(rows, "/bank/dev/payments/") {
			t.Errorf("%s has a change of payments: %s", other, rows)
		}
	}
}

// theDoctorFinds runs doctor for a deployed domain and returns what it says is wrong.
func theDoctorFinds(t testing.TB, environment []string, domain string) (wrong []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./cmd/broadcaster", "doctor", "--env", "dev", "--domain", domain)
	cmd.Dir, cmd.Env = root, append(os.Environ(), environment...)
	out, err := cmd.Output()
	if len(out) == 0 {
		t.Fatalf("doctor: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if is, found := strings.CutPrefix(strings.TrimSpace(line), "wrong "); found {
			wrong = append(wrong, is)
		}
	}
	return wrong
}

// canaryRuns invokes a deployed canary, as its schedule does, and returns what it answers and what it logs.
func canaryRuns(ctx context.Context, t testing.TB, functions *lambda.Client, function string) (answer, log string) {
	t.Helper()
	out, err := functions.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, LogType: "Tail", Payload: []byte(`{"detail-type":"Scheduled Event"}`)})
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	if err != nil || out.FunctionError != nil {
		t.Fatalf("%v: %s: %s\n%s", err, aws.ToString(out.FunctionError), out.Payload, text)
	}
	return string(out.Payload), string(text)
}

// prepare makes a folder to deploy from: the templates less what the emulator cannot, manifests of these domains of dev, a zip for
// this machine, and the AWS CLI.
func prepare(t testing.TB, dir, endpoint string, domains ...string) {
	t.Helper()
	write := func(name, content string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"infra/deploy.sh", "infra/stack-policy.json"} {
		write(name, string(fileIn(t, root, name)), 0o600)
	}
	platform := string(fileIn(t, root, "infra/platform.yaml"))
	for _, id := range []string{"Archives", "HintAccountsPolicy"} {
		before, rest, found := strings.Cut(platform, "\n  "+id+":\n")
		for found && (strings.HasPrefix(rest, "    ") || strings.HasPrefix(rest, "\n")) {
			_, rest, _ = strings.Cut(rest, "\n")
		}
		platform = before + "\n" + rest
	}
	write("infra/platform.yaml", platform, 0o600)
	variables := "        Variables:\n"
	domainTemplate := strings.NewReplacer(
		variables, variables+"          AWS_ENDPOINT_URL: "+endpoint+"\n", "MaximumConcurrency: !Ref MaxConcurrency", "MaximumConcurrency: 3",
	).Replace(string(fileIn(t, root, "infra/domain.yaml")))
	write("infra/domain.yaml", domainTemplate, 0o600)
	manifest := string(fileIn(t, root, "infra/subscriptions/dev/payments.yaml"))
	for _, domain := range domains {
		write("infra/subscriptions/dev/"+domain+".yaml", strings.Replace(manifest, "domain: payments", "domain: "+domain, 1), 0o600)
	}
	write("dist/.keep", "", 0o600)
	for program, bootstrap := range map[string]string{"./cmd/broadcaster": "dist/bootstrap", "./cmd/canary": "dist/canary/bootstrap"} {
		tool(t, root, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + runtime.GOARCH}, "go", "build", "-tags", "lambda.norpc,lambdaartifact", "-trimpath", "-o", filepath.Join(dir, bootstrap), program)
	}
	tool(t, root, nil, "go", "run", "./infra/pack", "-bootstrap", filepath.Join(dir, "dist/bootstrap"), "-subscriptions", filepath.Join(dir, "infra/subscriptions"), "-dist", filepath.Join(dir, "dist"))
	tool(t, root, nil, "go", "run", "./infra/pack", "-bootstrap", filepath.Join(dir, "dist/canary/bootstrap"), "-name", "canary", "-subscriptions", "", "-dist", filepath.Join(dir, "dist"))
	write("bin/aws", fmt.Sprintf("#!/bin/sh\nexec %s -m awscli \"$@\"\n", variable(t, "AWS_PYTHON")), 0o700)
}

// logOf returns what a change log says, as JSON.
func logOf(ctx context.Context, t testing.TB, tables *dynamodb.Client, table string) string {
	t.Helper()
	out, err := tables.Query(ctx, &dynamodb.QueryInput{
		TableName: &table, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("pk = :log"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":log": &types.AttributeValueMemberS{Value: "log"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(out.Items)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rowsWith waits until a change log has a text. The emulator tells nobody when it has carried an event, so it is asked.
func rowsWith(ctx context.Context, t testing.TB, tables *dynamodb.Client, table, text string) string {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for rows := ""; ; {
		if rows = logOf(ctx, t, tables, table); strings.Contains(rows, text) {
			return rows
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s has nothing of %s: %s", table, text, rows)
		}
	}
}
