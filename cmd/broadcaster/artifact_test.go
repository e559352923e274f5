package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The Lambda artifact holds nothing that only people or tests use: it is smaller, starts sooner, and has less to attack.
func TestTheArtifactLinksNoCommandLineAndNoStandIn(t *testing.T) {
	unwanted := func(pkg string) bool {
		return slices.ContainsFunc([]string{
			"github.com/spf13/", "github.com/bank-platform/secret-broadcaster/internal/", "github.com/bank-platform/secret-broadcaster/test/",
			"github.com/bank-platform/secret-broadcaster/subscribers/secretcache", "testing",
		}, func(prefix string) bool { return strings.HasPrefix(pkg, prefix) })
	}
	for _, pkg := range linked(t, "lambda.norpc,lambdaartifact") {
		if unwanted(pkg) {
			t.Errorf("the artifact links %s", pkg)
		}
	}
	if !slices.ContainsFunc(linked(t, ""), unwanted) {
		t.Error("the command line links none of it either: this test looks for the wrong packages")
	}
}

// linked returns the packages that the program is made of when it is built with the tags.
func linked(t *testing.T, tags string) []string {
	t.Helper()
	if _, err := os.ReadDir("."); err != nil { // so that go test knows what this result, if it is cached, depends on
		t.Fatal(err)
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tags, ".")
	list.Env = append(list.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}
