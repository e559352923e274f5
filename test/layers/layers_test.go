// Package layers_test holds the direction of imports: cmd → edges → invalidation → subscribers → events, and from the
// clients to wire only.
package layers_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	module = "github.com/bank-platform/secret-broadcaster"

	sdk       = "github.com/aws/aws-sdk-go-v2/..."
	smithy    = "github.com/aws/smithy-go/..."
	runtime   = "github.com/aws/aws-lambda-go/..."
	yaml      = "github.com/goccy/go-yaml/..."
	cobra     = "github.com/spf13/cobra/..."
	pgx       = "github.com/jackc/pgx/v5/..."
	goCmp     = "github.com/google/go-cmp/..."
	artifact  = "lambda.norpc,lambdaartifact" // the build tags of what is deployed
	testsOnly = "testing"
)

// A layer is a package, or with /... all below it too, and what it may import beside the standard library.
type layer struct {
	path string
	may  []string
	rule string
}

// layers are in the order in which a package finds its own: the first that fits.
func layers() []layer {
	decision := []string{"invalidation", "invalidation/wire", "subscribers", "events"}
	edge := append([]string{sdk, smithy, "invalidation/history"}, decision...)
	const edges = "an edge has the AWS SDK and knows the decision, not the other edges nor the clients"
	const suites = "a contract suite talks to its subject through AWS's SDK only, so that it may be DynamoDB or Secrets Manager itself"
	return []layer{
		{"events", nil, "events says what happened, with the standard library only"},
		{"invalidation/wire", nil, "wire is a leaf with the standard library only: every client links it"},
		{"subscribers", []string{"events", yaml}, "subscribers says who wants to know; it knows neither the decision nor the clients nor AWS"},
		{"invalidation", decision[1:], "invalidation decides and has no AWS SDK: what talks to AWS is an edge below it"},
		{"invalidation/history", decision, "history says what has happened and has no AWS SDK: what it reads comes from an edge"},
		{"invalidation/audit", append([]string{"invalidation/history"}, decision...), "audit is evidence from what history reads; it has no AWS SDK"},
		{
			"invalidation/history/historytest", append([]string{"invalidation/dynamodb", "internal/local/tables", sdk}, decision...),
			"what writes histories for tests has the store that is deployed, on the stand-in of DynamoDB",
		},
		{"invalidation/dynamodb", edge, edges},
		{"invalidation/lambda", edge, edges},
		{"invalidation/connection", []string{sdk}, "what the broadcaster and its clients send requests with knows neither"},
		{"invalidation/secretsmanager", edge, edges},
		{"invalidation/cloudwatchlogs", []string{sdk}, "who reads logs knows AWS only"},
		{"invalidation/sqs", edge, edges},
		{"invalidation/sts", edge, edges},
		{"invalidation/eventbridge", []string{"events", sdk, smithy}, "rotation functions link it: it knows the event and AWS, nothing of the broadcaster"},
		{"subscribers/secretcache", []string{"invalidation/wire"}, "a client knows wire only; what talks to AWS is secretcacheaws"},
		{
			"subscribers/secretcache/secretcacheaws",
			[]string{"subscribers/secretcache", "invalidation/wire", "invalidation/connection", sdk, smithy, runtime},
			"a client's edge knows the client, wire, the AWS SDK and Lambda's runtime, nothing of the broadcaster",
		},
		{
			"subscribers/secretcache/secretcachesql",
			[]string{"subscribers/secretcache", "subscribers/secretcache/internal/login", "subscribers/secretcache/internal/replaced"},
			"a pool of database/sql knows the client, and no driver",
		},
		{
			"subscribers/secretcache/secretcachepgx",
			[]string{"subscribers/secretcache", "subscribers/secretcache/internal/login", "subscribers/secretcache/internal/replaced", pgx},
			"pgx's pool knows the client and pgx; what does not log in to PostgreSQL does not link it",
		},
		{"subscribers/secretcache/internal/login", nil, "what pools say of a failed login knows no driver"},
		{"subscribers/secretcache/internal/replaced", nil, "which versions a pool's connections log in with is known without a driver"},
		{
			"subscribers/secretcache/internal/pgtest",
			[]string{"subscribers/secretcache", "subscribers/secretcache/secretcachetest", pgx},
			"what tests of pools share: a client on a fake, and a PostgreSQL",
		},
		{
			"subscribers/secretcache/secretcachetest",
			[]string{"subscribers/secretcache", "invalidation/wire"},
			"what teams test with brings them the client and wire, not AWS",
		},
		{"subscribers/extension/lifecycle", nil, "what speaks Lambda's Extensions API knows the standard library only"},
		{
			"subscribers/extension/endpoint",
			[]string{"subscribers/secretcache", sdk, smithy},
			"the extension's endpoint answers from a client and knows AWS's protocols, nothing of the broadcaster",
		},
		{
			"subscribers/extension",
			[]string{"subscribers/extension/...", "subscribers/secretcache", "subscribers/secretcache/secretcacheaws", "invalidation/connection", sdk},
			"the extension wires the Go client and its endpoint, and knows nothing of the broadcaster",
		},
		{"subscribers/node/test/endpoints", []string{"internal/local/tables", "internal/local/secrets"}, "what the Node client's tests call is the stand-ins and nothing else"},
		{"internal/awstest", []string{sdk}, "tests reach AWS's emulator as anybody reaches AWS"},
		{"internal/local/tables/tablestest", []string{"internal/awstest", sdk, smithy, goCmp}, suites},
		{"internal/local/secrets/secretstest", []string{"internal/awstest", sdk, smithy, goCmp}, suites},
		{"internal/local/...", []string{"internal/local/..."}, "a stand-in knows AWS's behaviour, nothing of this project and no SDK"},
		{
			"cmd/broadcaster", append([]string{"cmd/broadcaster/...", "invalidation/...", "subscribers/...", runtime, cobra}, edge...),
			"the program wires the parts; the stand-ins belong to packages below it that are not deployed",
		},
		{
			"cmd/broadcaster/internal/...",
			append([]string{"cmd/broadcaster/internal/...", "internal/local/...", "invalidation/...", "subscribers/...", runtime, yaml}, edge...),
			"what the program keeps to itself may use all but test",
		},
		{
			"cmd/canary",
			[]string{"subscribers/secretcache", "subscribers/secretcache/secretcacheaws", sdk, runtime},
			"the canary is a client as any other: it knows nothing of the broadcaster",
		},
		{"infra/pack", []string{"subscribers"}, "what packs the artifact knows manifests, which it checks"},
		{"test/...", []string{"..."}, "tests across parts may use all"},
	}
}

// within reports whether a path is the pattern, or with /... below it.
func within(path, pattern string) bool {
	if pattern == "..." {
		return true
	}
	root, subtree := strings.CutSuffix(pattern, "/...")
	return path == root || subtree && strings.HasPrefix(path, root+"/")
}

// A pkg is a package as go list knows it.
type pkg struct {
	ImportPath                         string
	Standard                           bool
	Imports, TestImports, XTestImports []string
}

// wrong returns what a package imports and may not, each with the rule.
func wrong(p pkg) []string {
	var problems []string
	problem := func(imported, rule string) {
		problems = append(problems, strings.ReplaceAll(p.ImportPath+" imports "+imported+": "+rule, module+"/", ""))
	}
	path := strings.TrimPrefix(p.ImportPath, module+"/")
	all := layers()
	i := slices.IndexFunc(all, func(l layer) bool { return within(path, l.path) })
	if i < 0 {
		return []string{path + " stands in no layer: say in test/layers what it may import"}
	}
	mine := all[i]
	isTest := within(path, "test/...")
	for _, imported := range p.Imports {
		own := strings.TrimPrefix(imported, module+"/")
		first, _, _ := strings.Cut(imported, "/")
		switch {
		case within(own, "test/...") && own != imported && !isTest:
			problem(imported, "nothing imports test")
		case imported == testsOnly && !isTest && !strings.HasSuffix(path, "test"):
			problem(imported, "it belongs to tests and to packages for tests, whose names end in test")
		case !strings.Contains(first, "."): // the standard library
		case !slices.ContainsFunc(mine.may, func(pattern string) bool { return within(own, pattern) }):
			problem(imported, mine.rule)
		}
	}
	for _, imported := range append(slices.Clone(p.TestImports), p.XTestImports...) {
		if own := strings.TrimPrefix(imported, module+"/"); own != imported && within(own, "test/...") && !isTest {
			problem(imported, "nothing imports test")
		}
	}
	return problems
}

// undeployable returns what of a program's packages must not be in what is deployed.
func undeployable(all []pkg) []string {
	var problems []string
	for _, p := range all {
		own := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, forbidden := range []string{"internal/local/...", "test/...", "cmd/broadcaster/internal/...", "subscribers/secretcache/...", cobra, testsOnly} {
			if within(own, forbidden) {
				problems = append(problems, "the Lambda artifact links "+own+": stand-ins, the command line and what is for tests are not deployed")
			}
		}
	}
	return problems
}

// list asks go for packages, as they are for a build with these tags on Lambda's platform.
func list(t *testing.T, tags string, arguments ...string) []pkg {
	t.Helper()
	readTree(t)
	command := exec.CommandContext(t.Context(), "go", append([]string{
		"list", "-tags", tags, "-json=ImportPath,Standard,Imports,TestImports,XTestImports",
	}, arguments...)...)
	command.Dir = "../.."
	command.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for decoder := json.NewDecoder(out); ; {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if err := command.Wait(); err != nil {
		t.Fatalf("go list: %v", err)
	}
	return all
}

// readTree reads every folder, because go test takes a result from its cache as long as what the test itself has read is
// the same: what go list reads does not count.
func readTree(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImportsPointOneWay(t *testing.T) {
	for name, tags := range map[string]string{"as built by default": "", "as deployed": artifact} {
		t.Run(name, func(t *testing.T) {
			all := list(t, tags, "./...")
			for _, p := range all {
				for _, problem := range wrong(p) {
					t.Error(problem)
				}
			}
			for _, l := range []string{"cmd/broadcaster", "events", "invalidation", "invalidation/wire", "subscribers", "subscribers/secretcache"} {
				if !slices.ContainsFunc(all, func(p pkg) bool { return p.ImportPath == module+"/"+l }) {
					t.Errorf("%s is not among what was looked at", l)
				}
			}
		})
	}
}

func TestWhatIsDeployed(t *testing.T) {
	all := list(t, artifact, "-deps", "./cmd/broadcaster")
	for _, problem := range undeployable(all) {
		t.Error(problem)
	}
	if !slices.ContainsFunc(all, func(p pkg) bool { return p.ImportPath == module+"/invalidation/dynamodb" }) {
		t.Error("the program's own packages are not among what was looked at")
	}
}

// TestWrongImportsAreNoticed: the rules themselves, on imports that nobody has made yet.
func TestWrongImportsAreNoticed(t *testing.T) {
	for _, c := range []struct{ importer, imported, want string }{
		{"events", "github.com/google/uuid", "with the standard library only"},
		{"events", "subscribers", "with the standard library only"},
		{"invalidation/wire", "events", "wire is a leaf"},
		{"subscribers", "invalidation", "neither the decision nor the clients"},
		{"subscribers", "subscribers/secretcache", "neither the decision nor the clients"},
		{"subscribers", "github.com/aws/aws-sdk-go-v2/aws", "nor AWS"},
		{"invalidation", "invalidation/dynamodb", "what talks to AWS is an edge"},
		{"invalidation", "github.com/aws/aws-sdk-go-v2/service/dynamodb", "has no AWS SDK"},
		{"invalidation", "github.com/aws/smithy-go", "has no AWS SDK"},
		{"invalidation/lambda", "invalidation/dynamodb", "not the other edges"},
		{"invalidation/eventbridge", "invalidation", "rotation functions link it"},
		{"invalidation/dynamodb", "internal/local/tables", "an edge has"},
		{"subscribers/secretcache", "invalidation", "a client knows wire only"},
		{"subscribers/secretcache", "github.com/aws/aws-sdk-go-v2/aws", "a client knows wire only"},
		{"subscribers/secretcache", "testing", "belongs to tests"},
		{"subscribers/secretcache/secretcacheaws", "invalidation/dynamodb", "nothing of the broadcaster"},
		{"subscribers/secretcache/secretcachetest", "subscribers/secretcache/secretcacheaws", "not AWS"},
		{"internal/local/tables", "invalidation", "nothing of this project"},
		{"internal/local/secrets", "github.com/aws/aws-sdk-go-v2/aws", "no SDK"},
		{"cmd/broadcaster", "internal/local/tables", "stand-ins belong to packages below it"},
		{"cmd/broadcaster", "github.com/google/go-cmp/cmp", "wires the parts"},
		{"cmd/broadcaster", "test/fleet", "nothing imports test"},
		{"cmd/broadcaster/internal/demo", "test/fleet", "nothing imports test"},
		{"cmd/broadcaster/internal/demo", "internal/local/tables", ""},
		{"invalidation/dynamodb", "github.com/aws/aws-sdk-go-v2/service/dynamodb/types", ""},
		{"internal/local/tables/tablestest", "testing", ""},
		{"test/fleet", "subscribers/secretcache", ""},
		{"subscribers/extension", "invalidation/wire", "nothing of the broadcaster"},
		{"subscribers/extension/endpoint", "subscribers/secretcache/secretcacheaws", "nothing of the broadcaster"},
		{"events", "net/url", ""},
		{"cmd/canary", "invalidation", "knows nothing of the broadcaster"},
		{"cmd/canary", "internal/local/secrets", "knows nothing of the broadcaster"},
		{"invalidation/kafka", "events", "stands in no layer"},
	} {
		imported := c.imported
		if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") && imported != testsOnly && imported != "net/url" {
			imported = module + "/" + imported
		}
		got := strings.Join(wrong(pkg{ImportPath: module + "/" + c.importer, Imports: []string{imported}}), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s imports %s: got %q, want %q in it", c.importer, c.imported, got, c.want)
		}
	}
	got := wrong(pkg{ImportPath: module + "/events", XTestImports: []string{module + "/test/fleet", module + "/internal/local/tables"}})
	if diff := cmp.Diff([]string{"events imports test/fleet: nothing imports test"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	deployed := undeployable([]pkg{
		{ImportPath: module + "/invalidation"},
		{ImportPath: module + "/internal/local/tables"},
		{ImportPath: "github.com/spf13/cobra"},
		{ImportPath: "testing"},
		{ImportPath: "testing/iotest"},
	})
	if len(deployed) != 3 {
		t.Errorf("got %d problems with what is deployed, want 3: %v", len(deployed), deployed)
	}
}
