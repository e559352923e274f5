package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
)

// A finding is what the doctor says of something that is not well.
type finding struct {
	Check, Problem, Fix string
	OK                  bool
}

// ill returns what the doctor finds wrong.
func (w *world) ill() (all []finding) {
	w.Helper()
	out, code := w.command("doctor", "--env", "prod", "--domain", "payments", "--json")
	var is struct{ Findings []finding }
	w.must(json.Unmarshal([]byte(out), &is))
	for _, f := range is.Findings {
		if !f.OK {
			all = append(all, f)
		}
	}
	if len(is.Findings) < 12 || (code == 0) != (len(all) == 0) {
		w.Fatalf("exit code %d with %s", code, out)
	}
	return all
}

// mend does what the doctor says, as somebody would who copies its commands.
func (w *world) mend(all []finding) {
	w.Helper()
	for _, f := range all {
		if !strings.HasPrefix(f.Fix, "aws ") {
			continue // another finding's command mends this
		}
		w.shell(f.Fix)
	}
}

// shell runs a command as somebody would who copies it.
func (w *world) shell(command string) {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), "bash", "-euo", "pipefail", "-c", command)
	cmd.Env = append(os.Environ(), w.here()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// wantIll: of all that the doctor looks at exactly these are not well, in this order; each is a check and a part of the problem.
func (w *world) wantIll(want ...string) (all []finding) {
	w.Helper()
	all = w.ill()
	same := len(all) == len(want)
	for i := 0; same && i < len(all); i++ {
		check, problem, _ := strings.Cut(want[i], ": ")
		same = all[i].Check == check && strings.Contains(all[i].Problem, problem)
	}
	if !same {
		w.Fatalf("the doctor finds %+v, want %q", all, want)
	}
	return all
}

// policyOf returns a queue's policy, with the rules that it lets in their order.
func (w *world) policyOf(queue string) (policy map[string]any) {
	w.Helper()
	out, err := w.queues.GetQueueAttributes(w.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: []sqstypes.QueueAttributeName{"Policy"}})
	w.must(err)
	w.must(json.Unmarshal([]byte(out.Attributes["Policy"]), &policy))
	first := policy["Statement"].([]any)[0].(map[string]any)
	rules := first["Condition"].(map[string]any)["ArnEquals"].(map[string]any)["aws:SourceArn"].([]any)
	slices.SortFunc(rules, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	return policy
}

// theDoctorNamesWhatIsBroken: a deployed domain is well but for what the account has not and what the emulator leaves out, each thing
// that somebody breaks is named, and what the doctor says mends it.
func theDoctorNamesWhatIsBroken(w *world) {
	w.mend(w.wantIll(
		"trail: no trail logs management events", "archive: nothing keeps Secrets Manager's events",
		"table prod-payments-changes: it has no point-in-time recovery",
		"table prod-payments-operations: it has no point-in-time recovery",
		"table prod-payments-reports: reports do not expire",
	)[1:])
	for _, arguments := range []string{"create-trail --name all --s3-bucket-name trails", "start-logging --name all"} { // as whoever runs the account
		run(w.T, w.dir, w.here(), "aws", append([]string{"cloudtrail"}, strings.Fields(arguments)...)...)
	}
	w.wantIll()

	queue := w.endpoint + "/" + account + "/prod-payments-broadcaster"
	before := w.policyOf(queue)
	_, err := w.queues.SetQueueAttributes(w.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: &queue, Attributes: map[string]string{"Policy": `{"Version":"2012-10-17","Statement":[]}`},
	})
	w.must(err)
	parked := aws.String(queue + "-dead-letters")
	_, err = w.queues.SendMessage(w.Context(), &sqs.SendMessageInput{QueueUrl: parked, MessageBody: aws.String("{}")})
	w.must(err)
	_, err = w.bus.DisableRule(w.Context(), &eventbridge.DisableRuleInput{Name: aws.String("prod-payments-secret-call")})
	w.must(err)
	_, err = w.roles.DetachRolePolicy(w.Context(), &iam.DetachRolePolicyInput{RoleName: aws.String("payments-go"), PolicyArn: clientPolicy("payments")})
	w.must(err)
	w.mend(w.wantIll(
		"dead-letter queue: messages are parked: 1", "rules: no enabled rule takes PutSecretValue, ", "rules: rule prod-payments-secret-call is disabled",
		"queue policy: it does not let EventBridge send for prod-payments-broadcaster-tick, ", "queue policy: it does not deny what comes unencrypted",
		"clients: payments-go may not dynamodb:Query of ", "clients: payments-go may not dynamodb:PutItem of ",
	)[1:])
	if diff := cmp.Diff(before, w.policyOf(queue)); diff != "" {
		w.Errorf("the queue's policy is not as the template made it (-template +mended):\n%s", diff)
	}
	// The emulator moves no messages, so what is parked is taken out, as what nobody needs is.
	taken, err := w.queues.ReceiveMessage(w.Context(), &sqs.ReceiveMessageInput{QueueUrl: parked})
	w.must(err)
	for _, message := range taken.Messages {
		_, err := w.queues.DeleteMessage(w.Context(), &sqs.DeleteMessageInput{QueueUrl: parked, ReceiptHandle: message.ReceiptHandle})
		w.must(err)
	}
	until(w, "all to be well again", func() bool { return len(w.ill()) == 0 })

	const function = "prod-payments-broadcaster"
	for _, command := range []string{
		"aws sqs set-queue-attributes --attributes MessageRetentionPeriod=60,DelaySeconds=5 --queue-url " + queue,
		`aws events put-rule --name prod-kyc-events --event-pattern '{"detail":{"name":[{"prefix":"/bank/prod/kyc/"}]}}'`,
		"aws events put-targets --rule prod-kyc-events --targets Id=queue,Arn=arn:aws:sqs:" + region + ":" + account + ":" + function,
		"aws events put-rule --name prod-payments-broadcaster-tick --schedule-expression 'rate(2 hours)'",
		"aws lambda put-function-concurrency --reserved-concurrent-executions 0 --function-name " + function,
		"aws lambda delete-alias --name pause --function-name " + function,
		"aws events disable-rule --name prod-payments-canary",
		"aws cloudwatch disable-alarm-actions --alarm-names prod-payments-broadcaster-missed",
	} {
		w.shell(command)
	}
	w.mend(w.wantIll(
		"queue: a message is gone after 1m0s", "queue: each message waits for 5s", "rules: rule prod-kyc-events takes Secret Label Updated of prod/kyc",
		"schedule: it ticks by rate(2 hours)", "event source: the function is throttled", "command pause: the function has no alias pause",
		"canary: rule prod-payments-canary is disabled", "alarms: nobody is told by prod-payments-broadcaster-missed",
	))
	w.wantIll()
}
