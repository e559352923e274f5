package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// aRemovedDomainGoesOn: what is kept when a domain's stack is removed is taken into the next one, as docs/deploying.md says.
func aRemovedDomainGoesOn(w *world) {
	const stack, bucket = "secret-broadcaster-prod-payments-archive", "prod-secret-broadcaster-" + account + "-" + region
	rows := func() string {
		return strings.TrimSpace(w.cli("dynamodb", "scan", "--table-name", "prod-payments-archive-changes", "--select", "COUNT", "--query", "Count"))
	}
	before := rows()
	w.cli("cloudformation", "delete-stack", "--stack-name", stack)
	until(w, "the stack to be gone", func() bool {
		return !strings.Contains(w.cli("cloudformation", "describe-stacks", "--query", "Stacks[].StackName"), `"`+stack+`"`)
	})
	if now := rows(); now != before || before == "0" {
		w.Fatalf("of %s rows of the log %s are left", before, now)
	}

	template, err := os.ReadFile(filepath.Join(w.dir, "infra/domain.yaml"))
	w.must(err)
	lines := strings.Split(string(template), "\n")
	for i, line := range lines {
		if strings.Contains(line, " TableName: ") || strings.Contains(line, ` LogGroupName: !Sub "/aws/lambda/${Env}-${Domain}-broadcaster"`) {
			lines[i] = strings.NewReplacer("!Sub ", "", "${Env}-${Domain}", "prod-payments-archive").Replace(line)
		}
	}
	again := filepath.Join(w.dir, "again.yaml")
	w.must(os.WriteFile(again, []byte(strings.Join(lines, "\n")), 0o600))
	w.cli("s3api", "put-object", "--bucket", bucket, "--key", "templates/again.yaml", "--body", again)
	artifact := strings.TrimSpace(w.cli("s3api", "list-objects-v2", "--bucket", bucket, "--prefix", "artifacts/", "--query", "Contents[?ends_with(Key, 'zip')] | [0].Key", "--output", "text"))
	w.cli("cloudformation", "create-change-set", "--stack-name", stack, "--change-set-name", "again", "--change-set-type", "CREATE", "--import-existing-resources",
		"--capabilities", "CAPABILITY_NAMED_IAM", "--template-url", "https://s3."+region+".amazonaws.com/"+bucket+"/templates/again.yaml", "--parameters",
		"ParameterKey=Env,ParameterValue=prod", "ParameterKey=Domain,ParameterValue=payments-archive", "ParameterKey=ArtifactBucket,ParameterValue="+bucket, "ParameterKey=ArtifactKey,ParameterValue="+artifact)
	changeSet := func(query string) []string {
		return strings.Fields(w.cli("cloudformation", "describe-change-set", "--stack-name", stack, "--change-set-name", "again", "--query", query, "--output", "text"))
	}
	until(w, "the change set", func() bool { return changeSet("Status")[0] == "CREATE_COMPLETE" })
	imported := changeSet("Changes[?ResourceChange.Action=='Import'].ResourceChange.LogicalResourceId")
	slices.Sort(imported)
	if diff := cmp.Diff([]string{"ChangesTable", "Log", "OperationsTable", "ReportsTable"}, imported); diff != "" {
		w.Fatalf("imported are (-want +got):\n%s", diff)
	}
	w.cli("cloudformation", "execute-change-set", "--stack-name", stack, "--change-set-name", "again")
	until(w, "the stack", func() bool {
		return strings.Contains(w.cli("cloudformation", "describe-stacks", "--stack-name", stack, "--query", "Stacks[0].StackStatus"), "CREATE_COMPLETE")
	})

	if out, err := w.deploy(append(w.here(), "PLATFORM_PARAMETERS=Archive=false"), "prod", "payments-archive"); err != nil || !strings.Contains(out, "Successfully created/updated stack") {
		w.Fatalf("%v\n%s", err, out)
	}
	if now := rows(); now != before {
		w.Errorf("of %s rows of the log %s are left", before, now)
	}
}
