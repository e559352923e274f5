package infra

import (
	"archive/zip"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
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
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
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
	for _, name := range []string{"broadcaster.zip", "broadcaster.cdx.json"} {
		if !bytes.Equal(fileIn(t, first, name), fileIn(t, second, name)) {
			t.Errorf("%s is not the same twice", name)
		}
	}
	content := fileIn(t, first, "broadcaster.zip")
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	var packed []string
	for _, file := range archive.File {
		packed = append(packed, file.Name)
		if want := map[bool]os.FileMode{true: 0o755, false: 0o644}[file.Name == "bootstrap"]; file.Mode() != want || file.Modified.Year() != 1980 {
			t.Errorf("%s is of mode %v and of %v", file.Name, file.Mode(), file.Modified)
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
	if !slices.Equal(want, packed) {
		t.Errorf("packed are %v, want %v", packed, want)
	}
	program, err := elf.NewFile(bytes.NewReader(fileIn(t, first, "bootstrap")))
	if err != nil || program.Machine != elf.EM_AARCH64 {
		t.Errorf("the binary is for %v: %v", program.Machine, err)
	}
}

// TestTheBillOfMaterialsIsTheBinarys: as go version -m reads it, and valid by CycloneDX's own schema.
func TestTheBillOfMaterialsIsTheBinarys(t *testing.T) {
	dist := t.TempDir()
	tool(t, root, []string{"MAKEFLAGS="}, "make", "package", "DIST="+dist)
	var bill struct {
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(fileIn(t, dist, "broadcaster.cdx.json"), &bill); err != nil {
		t.Fatal(err)
	}
	var listed, linked []string
	for _, c := range bill.Components {
		if c.Name != "std" {
			listed = append(listed, c.Name+" "+c.Version)
		}
	}
	for line := range strings.Lines(tool(t, root, nil, "go", "version", "-m", filepath.Join(dist, "bootstrap"))) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "dep" {
			linked = append(linked, fields[1]+" "+fields[2])
		}
	}
	if !slices.Equal(linked, listed) || len(linked) < 10 {
		t.Errorf("listed are %v, linked are %v", listed, linked)
	}
	script := `import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(str(wrong) if wrong else 0)`
	tool(t, root, nil, variable(t, "LINT_PYTHON"), "-c", script, filepath.Join(dist, "broadcaster.cdx.json"))
}

// TestTheLayerIsReproducible: the extension stands where Lambda looks for it, may be executed, and is for either machine.
func TestTheLayerIsReproducible(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	for _, dist := range []string{first, second} {
		tool(t, root, []string{"MAKEFLAGS="}, "make", "layer", "DIST="+dist)
	}
	for arch, machine := range map[string]elf.Machine{"arm64": elf.EM_AARCH64, "x86_64": elf.EM_X86_64} {
		for _, name := range []string{"extension-" + arch + ".zip", "extension-" + arch + ".cdx.json"} {
			if !bytes.Equal(fileIn(t, first, name), fileIn(t, second, name)) {
				t.Errorf("%s is not the same twice", name)
			}
		}
		content := fileIn(t, first, "extension-"+arch+".zip")
		archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		if len(archive.File) != 1 || archive.File[0].Name != "extensions/secret-broadcaster" || archive.File[0].Mode() != 0o755 {
			t.Errorf("%s: packed are %v", arch, archive.File)
		}
		program, err := elf.NewFile(bytes.NewReader(fileIn(t, first, "secret-broadcaster-"+arch)))
		if err != nil || program.Machine != machine {
			t.Errorf("%s: the binary is for %v: %v", arch, program.Machine, err)
		}
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
// by Secrets Manager's API, and finds the change in this domain's log and in no other's.
//
// What the emulator cannot, by name: it does not know AWS::Events::Archive and AWS::Events::EventBusPolicy, so these two are left
// out; it runs the binary on this machine, so the binary is built for this machine; it does not tell a Go function where it is, so
// the function's environment says it; of an event source it takes a number that is a parameter for text, so MaximumConcurrency is
// written out. IAM and stack policies it does not enforce: the tests beside this one judge them.
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
	wrong := exec.CommandContext(t.Context(), "bash", "infra/deploy.sh", "dev", "kyc")
	wrong.Dir, wrong.Env = dir, append(append(os.Environ(), environment...), "PARAMETERS=VpcSubnetIds=subnet-1")
	if out, err := wrong.CombinedOutput(); err == nil || !strings.Contains(string(out), "VpcSubnetIds needs VpcSecurityGroupIds") {
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
	for _, other := range []string{"dev-payments-archive-changes", "dev-kyc-changes"} {
		if rows := logOf(t.Context(), t, tables, other); strings.Contains(rows, "connection-string") {
			t.Errorf("%s has a change of payments: %s", other, rows)
		}
	}
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
	tool(t, root, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + runtime.GOARCH}, "go", "build", "-tags", "lambda.norpc,lambdaartifact", "-trimpath", "-o", filepath.Join(dir, "dist/bootstrap"), "./cmd/broadcaster")
	tool(t, root, nil, "go", "run", "./infra/pack", "-bootstrap", filepath.Join(dir, "dist/bootstrap"), "-subscriptions", filepath.Join(dir, "infra/subscriptions"), "-dist", filepath.Join(dir, "dist"))
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
