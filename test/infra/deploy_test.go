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
