package infra

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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

// TestPackageIsReproducible: the checkout and a copy of it elsewhere, of what is committed and nothing else, come to the same bytes,
// linked anew, whatever whoever builds it has set for Go.
func TestPackageIsReproducible(t *testing.T) {
	first, second, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
	tool(t, root, []string{"MAKEFLAGS="}, "make", "package", "DIST="+first)
	tool(t, root, nil, "bash", "-euo", "pipefail", "-c", `git ls-files -z --cached | tar -c --null -T - | tar -x -C "$0"`, elsewhere)
	tool(t, elsewhere, hostile(), "make", "package", "DIST="+second)
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

// hostile is a developer's own taste.
func hostile() []string {
	return []string{
		"MAKEFLAGS=", "GOFLAGS=-tags=mine -race -ldflags=-X=main.x=y", "GOEXPERIMENT=nogreenteagc", "GOAMD64=v3", "GOARM64=v9.0,lse", "GOFIPS140=latest",
		"CGO_ENABLED=1", "GOOS=darwin", "GOARCH=amd64", "TZ=Asia/Tokyo", "LC_ALL=tr_TR.UTF-8",
	}
}

// TestManifestsFromElsewhere: an account for each domain is deployed without a change of the checkout.
func TestManifestsFromElsewhere(t *testing.T) {
	dir, dist := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "prod"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "prod/kyc.yaml"), fileIn(t, root, "infra/subscriptions/prod/kyc.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := tool(t, root, []string{"MAKEFLAGS=", "DRY_RUN=1", "PATH=" + withoutAWS(t)}, "make", "deploy-all", "ENV=prod", "SUBSCRIPTIONS="+dir, "DIST="+dist)
	wantPacked(t, fileIn(t, dist, "broadcaster.zip"), []string{"bootstrap", "subscriptions/prod/kyc.yaml"})
	if !strings.Contains(out, "deploying prod, kyc, to") || strings.Contains(out, "payments") {
		t.Errorf("deployed is more than there are manifests of:\n%s", out)
	}
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

// TestTheLayerIsReproducible: the extension stands where Lambda looks for it, may be executed, and is for either machine.
func TestTheLayerIsReproducible(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	tool(t, root, []string{"MAKEFLAGS="}, "make", "layer", "DIST="+first)
	tool(t, root, hostile(), "make", "layer", "DIST="+second)
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

// A deployment is infra/deploy.sh run dry, with an environment of its own.
func deployment(t testing.TB, environment []string, arguments ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", append([]string{"infra/deploy.sh"}, arguments...)...)
	cmd.Dir, cmd.Env = root, append([]string{"DRY_RUN=1", "ARTIFACT_KEY=artifacts/1.zip", "PATH=" + withoutAWS(t)}, environment...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// withoutAWS is this process's PATH, but for folders with an AWS CLI.
func withoutAWS(t testing.TB) string {
	t.Helper()
	return strings.Join(slices.DeleteFunc(filepath.SplitList(os.Getenv("PATH")), func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "aws"))
		return err == nil
	}), string(filepath.ListSeparator))
}

// withAWS is that PATH with an AWS CLI before it, which is this script.
func withAWS(t testing.TB, script string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "aws"), []byte("#!/bin/bash\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir + string(filepath.ListSeparator) + withoutAWS(t)
}

// TestADryRunSaysWhatWouldBeDone: and does nothing, also where there is no AWS CLI.
func TestADryRunSaysWhatWouldBeDone(t *testing.T) {
	out, err := deployment(t, []string{"PARAMETERS=MemorySize=1024 Tracing=Active", "TAGS=cost-centre=4711 'owner=Payments Team'"}, "prod", "--all")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	manifests, _ := filepath.Glob(filepath.Join(root, "infra/subscriptions/prod/*.yaml"))
	if got, want := strings.Count(out, "--template-file infra/domain.yaml"), len(manifests); got != want || want == 0 {
		t.Errorf("%d domains are deployed, %d have a manifest:\n%s", got, want, out)
	}
	for _, part := range []string{
		"--stack-name secret-broadcaster-prod --template-file infra/platform.yaml", "--stack-name secret-broadcaster-prod-risk-platform",
		"ArtifactKey=artifacts/1.zip MemorySize=1024 Tracing=Active", `--tags cost-centre=4711 owner=Payments\ Team`,
		"--stack-policy-body file://infra/stack-policy.json",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("nothing is said of %q:\n%s", part, out)
		}
	}
	if strings.Contains(out, "CanaryArtifactKey") {
		t.Errorf("an older broadcaster brings an older canary:\n%s", out)
	}
	if out, err := deployment(t, nil, "prod", "payments"); err != nil || strings.Contains(out, "platform.yaml") || strings.Count(out, "domain.yaml") != 1 {
		t.Errorf("one domain: %v\n%s", err, out)
	}
}

// TestADeploymentRefusesWhatIsWrong: by name, before anything is done.
func TestADeploymentRefusesWhatIsWrong(t *testing.T) {
	empty := t.TempDir()
	if err := os.Mkdir(filepath.Join(empty, "prod"), 0o750); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says, arguments string
		environment     []string
	}{
		{"usage: make deploy", "prod", nil},
		{"there is no environment nowhere", "nowhere payments", nil},
		{"infra/subscriptions/prod/nobody.yaml is missing", "prod nobody", nil},
		{"../prod is no environment", "../prod payments", nil},
		{"../dev/payments is no domain", "prod ../dev/payments", nil},
		{"there is no manifest in " + empty + "/prod", "prod --all", []string{"SUBSCRIPTIONS=" + empty}},
		{"PARAMETERS: infra/domain.yaml has no parameter PermissionBoundary", "prod payments", []string{"PARAMETERS=MemorySize=512 PermissionBoundary=arn:aws:iam::111122223333:policy/b"}},
		{"PARAMETERS: MemorySize is not name=value", "prod payments", []string{"PARAMETERS=MemorySize"}},
		{"PARAMETERS: Env is set by this script", "prod payments", []string{"PARAMETERS=Env=dev"}},
		{"PARAMETERS: Domain is set by this script", "prod payments", []string{"PARAMETERS=Domain=kyc"}},
		{"PLATFORM_PARAMETERS: infra/platform.yaml has no parameter PageMail", "prod --all", []string{"PLATFORM_PARAMETERS=PageMail=a@bank.example"}},
		{"TAGS: Team is not name=value", "prod payments", []string{"TAGS=owner=Payments Team"}},
		{"TAGS: a quote is not closed", "prod payments", []string{"TAGS=owner='Payments"}},
		{"no Region is set: set AWS_REGION", "prod payments", []string{"DRY_RUN="}},
		{"the AWS CLI is not installed", "prod payments", []string{"DRY_RUN=", "AWS_REGION=eu-west-2"}},
		{"no credentials that work", "prod payments", []string{"DRY_RUN=", "AWS_REGION=eu-west-2", "PATH=" + withAWS(t, "exit 1")}},
		{"delete-stack --stack-name secret-broadcaster-prod-payments", "prod payments", []string{"AWS_REGION=eu-west-2", "PATH=" + withAWS(t, "echo ROLLBACK_COMPLETE")}},
		{"Throttling", "prod payments", []string{"AWS_REGION=eu-west-2", "PATH=" + withAWS(t, `[ "$3" = sts ] || { echo Throttling >&2; exit 1; }; echo 111122223333`)}},
	} {
		if out, err := deployment(t, c.environment, strings.Fields(c.arguments)...); err == nil || !strings.Contains(out, c.says) || strings.Contains(out, "+ aws") {
			t.Errorf("%s, %v: wants %q: %v\n%s", c.arguments, c.environment, c.says, err, out)
		}
	}
}

// TestADeploymentIsOfOneRegion: that of AWS_REGION, which not every AWS CLI reads, else the one that it would take itself; each call
// is told it, the first one too.
func TestADeploymentIsOfOneRegion(t *testing.T) {
	called := filepath.Join(t.TempDir(), "called")
	cli := withAWS(t, `[ "$1" != configure ] || { echo eu-central-1; exit; }
echo "$*" >>"$CALLED"
case $3 in sts) echo 111122223333 ;; cloudformation) printf 'UPDATE_COMPLETE\tcost-centre=4711\towner=Payments Team\n' ;; esac
`)
	for want, environment := range map[string][]string{
		"eu-west-2":    {"AWS_REGION=eu-west-2", "AWS_DEFAULT_REGION=us-east-1"},
		"us-east-1":    {"AWS_DEFAULT_REGION=us-east-1"},
		"eu-central-1": {},
	} {
		if err := os.RemoveAll(called); err != nil {
			t.Fatal(err)
		}
		out, err := deployment(t, append(environment, "PATH="+cli, "CALLED="+called, "ARTIFACT_KEY="+"artifacts/1.zip"), "prod", "--all")
		if err != nil || !strings.Contains(out, "to account 111122223333, Region "+want+"\n") {
			t.Fatalf("%v\n%s", err, out)
		}
		for line := range strings.Lines(out + string(fileIn(t, "", called))) {
			line = strings.TrimPrefix(line, "+ aws ")
			if !strings.HasPrefix(line, "deploying ") && !strings.HasPrefix(line, "--region "+want+" ") {
				t.Errorf("in which Region is %s", line)
			}
			if strings.Contains(line, "cloudformation deploy") && !strings.Contains(line, `--tags cost-centre=4711 owner=Payments\ Team`) {
				t.Errorf("the stack loses its tags: %s", line)
			}
		}
		if !strings.Contains(out, "--s3-bucket prod-secret-broadcaster-111122223333-"+want) {
			t.Errorf("no bucket of the account and the Region:\n%s", out)
		}
	}
}

// TestTheTemplatesAreNotTooLarge: CloudFormation takes 51,200 bytes without a bucket, which the platform's stack makes, and a
// megabyte from there.
func TestTheTemplatesAreNotTooLarge(t *testing.T) {
	for file, most := range map[string]int{"platform.yaml": 51_200, "domain.yaml": 1_000_000} {
		if text := fileIn(t, root, "infra/"+file); len(text) > most {
			t.Errorf("%s is of %d bytes", file, len(text))
		}
	}
}
