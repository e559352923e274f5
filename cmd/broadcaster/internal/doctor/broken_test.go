package doctor_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/doctor"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A trouble is one thing that somebody did to a domain, what the doctor says of it, and how it is undone.
type trouble struct {
	name       string
	does, undo func(d *domain)
	want       []string // each finding: parts that it has, in their order, with … between
}

func troubles() []trouble {
	pause := func(paused bool) func(d *domain) {
		return func(d *domain) {
			at := time.Now()
			by := invalidation.Command{Name: "pause", By: "arn:aws:iam::1:user/alice", Reason: "INC-4711", At: at, RequestID: "r"}
			d.must(d.store.SetPause(d.Context(), invalidation.Pause{Paused: paused, By: by.By, Reason: by.Reason, At: at}, by))
		}
	}
	letIn := func(rules ...string) func(d *domain) {
		return func(d *domain) {
			var all []string
			for _, r := range rules {
				all = append(all, d.arn("events", "rule/prod-payments-"+r))
			}
			d.letIn(all...)
		}
	}
	client := func(ofLog, ofReports string) func(d *domain) {
		return func(d *domain) { d.allow(consumer, d.clientPolicy(ofLog, ofReports)) }
	}
	mapping := func(edit func(*lambda.UpdateEventSourceMappingInput)) func(d *domain) {
		return func(d *domain) {
			in := &lambda.UpdateEventSourceMappingInput{UUID: d.mapping}
			edit(in)
			_, err := d.lambda.UpdateEventSourceMapping(d.Context(), in)
			d.must(err)
		}
	}
	reported := func(in *lambda.UpdateEventSourceMappingInput, types ...lambdatypes.FunctionResponseType) {
		in.FunctionResponseTypes = types
	}
	selectors := func(rw trailtypes.ReadWriteType) func(d *domain) {
		return func(d *domain) {
			_, err := d.trails.PutEventSelectors(d.Context(), &cloudtrail.PutEventSelectorsInput{
				TrailName: aws.String("all"), EventSelectors: []trailtypes.EventSelector{{IncludeManagementEvents: aws.Bool(true), ReadWriteType: rw}},
			})
			d.must(err)
		}
	}
	const events = "prod-payments-secret-call"
	return append(append(accessTroubles(), arrivalTroubles()...), []trouble{
		{
			"the trail is stopped",
			func(d *domain) {
				_, err := d.trails.StopLogging(d.Context(), &cloudtrail.StopLoggingInput{Name: aws.String("all")})
				d.must(err)
			},
			func(d *domain) {
				_, err := d.trails.StartLogging(d.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("all")})
				d.must(err)
			},
			[]string{"trail: trail all does not log…→ aws cloudtrail start-logging --name all"},
		},
		{"the trail logs reads only", selectors("ReadOnly"), selectors("All"), []string{"trail: no trail logs management events that write"}},
		{
			"a rule is shut out by a condition", letIn("broadcaster-tick", "others"), letIn("secret-call", "broadcaster-tick"),
			[]string{"queue policy: it does not let EventBridge send for prod-payments-secret-call: what"},
		},
		{
			"messages come back too early", func(d *domain) { d.queue("VisibilityTimeout", "60") }, func(d *domain) { d.queue("VisibilityTimeout", "300") },
			[]string{`queue: its visibility timeout of 60s is shorter than the function's timeout of 5m0s → aws sqs set-queue-attributes …{"VisibilityTimeout":"300"}`},
		},
		{
			"messages are parked too soon", func(d *domain) { d.redrive(2) }, func(d *domain) { d.redrive(5) },
			[]string{"queue: it parks a message after 2 receives…→ aws sqs set-queue-attributes …maxReceiveCount"},
		},
		{
			"the dead-letter queue is taken away", func(d *domain) { d.queue("RedrivePolicy", "") }, func(d *domain) { d.redrive(5) },
			[]string{"queue: it has no dead-letter queue"},
		},
		{
			"a message is parked",
			func(d *domain) {
				_, err := d.sqs.SendMessage(d.Context(), &sqs.SendMessageInput{QueueUrl: &d.parked, MessageBody: aws.String("{}")})
				d.must(err)
			},
			func(d *domain) {
				_, err := d.sqs.PurgeQueue(d.Context(), &sqs.PurgeQueueInput{QueueUrl: &d.parked})
				d.must(err)
			},
			[]string{"dead-letter queue: messages are parked: 1, of which somebody looks at 0…→ aws sqs start-message-move-task --source-arn arn:aws:sqs:"},
		},
		{
			"the rule is disabled",
			func(d *domain) {
				_, err := d.events.DisableRule(d.Context(), &eventbridge.DisableRuleInput{Name: aws.String(events)})
				d.must(err)
			},
			func(d *domain) {
				_, err := d.events.EnableRule(d.Context(), &eventbridge.EnableRuleInput{Name: aws.String(events)})
				d.must(err)
			},
			[]string{
				"rules: no enabled rule takes Secret Label Updated, Secret Change Hint, PutSecretValue, UpdateSecretVersionStage, UpdateSecret, CreateSecret, DeleteSecret, RestoreSecret, RotationSucceeded, ReplicationSucceeded, RotationFailed, RotationAbandoned, ReplicationFailed →",
				"rules: rule prod-payments-secret-call is disabled → aws events enable-rule --name prod-payments-secret-call --event-bus-name default",
			},
		},
		{
			"the rule forgets rotations",
			func(d *domain) { d.rule(events, strings.ReplaceAll(pattern, "additionalEventData", "nothing"), "") }, func(d *domain) { d.rule(events, pattern, "") },
			[]string{"rules: no enabled rule takes RotationSucceeded, ReplicationSucceeded, RotationFailed, RotationAbandoned, ReplicationFailed → make deploy"},
		},
		{
			"the rule takes a domain of a similar name",
			func(d *domain) { d.rule(events, strings.ReplaceAll(pattern, "payments/", "payments"), "") }, func(d *domain) { d.rule(events, pattern, "") },
			[]string{"rules: rule prod-payments-secret-call takes Secret Label Updated of prod/payments-archive: what it is to take has to begin with /bank/prod/payments/, with the slash at the end"},
		},
		{
			"nothing ticks",
			func(d *domain) {
				_, err := d.events.RemoveTargets(d.Context(), &eventbridge.RemoveTargetsInput{Rule: aws.String("prod-payments-broadcaster-tick"), Ids: []string{"queue"}})
				d.must(err)
			},
			func(d *domain) { d.rule("prod-payments-broadcaster-tick", "", "rate(5 minutes)") },
			[]string{"schedule: no enabled rule ticks"},
		},
		{
			"the event source is disabled",
			mapping(func(in *lambda.UpdateEventSourceMappingInput) { in.Enabled = aws.Bool(false) }), mapping(func(in *lambda.UpdateEventSourceMappingInput) { in.Enabled = aws.Bool(true) }),
			[]string{"event source: it is disabled…→ aws lambda update-event-source-mapping --uuid …--enabled"},
		},
		{
			"batches come back as a whole",
			mapping(func(in *lambda.UpdateEventSourceMappingInput) { reported(in, []lambdatypes.FunctionResponseType{}...) }),
			mapping(func(in *lambda.UpdateEventSourceMappingInput) { reported(in, "ReportBatchItemFailures") }),
			[]string{"event source: one message that comes back brings its whole batch…→ aws lambda update-event-source-mapping …ReportBatchItemFailures"},
		},
		{
			"an alias is gone",
			func(d *domain) { d.unalias("pause") }, func(d *domain) { d.alias("pause") },
			[]string{"command pause: the function has no alias pause → aws lambda create-alias --function-name prod-payments-broadcaster --name pause"},
		},
		{
			"a table can be deleted", func(d *domain) { d.protect("prod-payments-changes", false) }, func(d *domain) { d.protect("prod-payments-changes", true) },
			[]string{"table prod-payments-changes: it is not protected from deletion → aws dynamodb update-table --table-name prod-payments-changes"},
		},
		{
			"a table has no recovery", func(d *domain) { d.recovery("prod-payments-operations", false) }, func(d *domain) { d.recovery("prod-payments-operations", true) },
			[]string{"table prod-payments-operations: it has no point-in-time recovery → aws dynamodb update-continuous-backups --table-name prod-payments-operations"},
		},
		{
			"reports stay for ever", func(d *domain) { d.expiry(false) }, func(d *domain) { d.expiry(true) },
			[]string{"table prod-payments-reports: reports do not expire → aws dynamodb update-time-to-live --table-name prod-payments-reports"},
		},
		{
			"no tick has come for an hour", func(d *domain) { d.ticked(time.Now().Add(-time.Hour)) }, func(d *domain) { d.ticked(time.Now()) },
			[]string{"ticks: the last one that looked for missed changes to its end was 1h0m0s ago"},
		},
		{
			"pushes are paused", pause(true), pause(false),
			[]string{"pushes: they are paused since …by arn:aws:iam::1:user/alice: INC-4711 → broadcaster resume --env prod --domain payments --reason REASON"},
		},
		{
			"a rule is on a bus of its own",
			func(d *domain) { d.remove("default", events); d.ruleOn("another", events, pattern, "") },
			func(d *domain) { d.remove("another", events); d.rule(events, pattern, "") },
			[]string{
				"rules: no enabled rule takes Secret Label Updated (but prod-payments-secret-call of bus another, and AWS's events come to the bus default only), PutSecretValue (but",
				"queue policy: it does not let EventBridge send for prod-payments-secret-call of bus another",
			},
		},
		{
			"a client cannot read the log", func(d *domain) { d.report("e1", 8, 9) }, func(d *domain) { d.report("e1", 9, 9) },
			[]string{"clients: payments-api (arn:aws:lambda:…:function:payments-api) cannot read the log"},
		},
		{
			"a client's role may not read the log", client("dynamodb:GetItem", "dynamodb:PutItem"), client("dynamodb:Query", "dynamodb:PutItem"),
			[]string{"clients: payments-api may not dynamodb:Query of arn:aws:dynamodb:…prod-payments-changes → aws iam put-role-policy --role-name payments-api …\"Action\":\"dynamodb:Query\""},
		},
		{
			"a client's role may not report", client("dynamodb:Query", "dynamodb:GetItem"), client("dynamodb:Query", "dynamodb:PutItem"),
			[]string{"clients: payments-api may not dynamodb:PutItem of arn:aws:dynamodb:…prod-payments-reports → aws iam put-role-policy --role-name payments-api …dynamodb:PutItem"},
		},
		{
			"a function that takes pushes reports nothing",
			func(d *domain) {
				key := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: wire.ReportPartition("e1")}, "sk": &types.AttributeValueMemberS{Value: wire.ReportKey(consumer, "e1")}}
				_, err := d.tables.DeleteItem(d.Context(), &awsdynamodb.DeleteItemInput{TableName: aws.String("prod-payments-reports"), Key: key})
				d.must(err)
			},
			func(d *domain) { d.report("e1", 3, 0) },
			[]string{"clients: payments-api is tagged for pushes and has reported nothing in a day…→ aws lambda get-function-configuration --function-name payments-api"},
		},
		{
			"the canary's changes stopped",
			func(d *domain) {
				d.changed(time.Now().Add(-31*time.Minute), time.Now().Add(-31*time.Minute), "Secret Label Updated")
			},
			func(d *domain) { d.begin() },
			[]string{"canary: the newest change of its secret came 31m0s ago, and one has to come every 15m0s…→ aws logs filter-log-events --log-group-name /aws/lambda/prod-payments-canary"},
		},
		{
			"the manifest that holds is lost", func(d *domain) {
				d.hold(invalidation.Holding{Digest: "0", By: "arn:aws:iam::1:user/ci", Reason: "INC-4711", At: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)})
			},
			func(d *domain) { d.subscribe(consumer) },
			[]string{"subscriptions, applied 2026-11-23T10:00:00Z by arn:aws:iam::1:user/ci: INC-4711: nothing is pushed: manifest 0 is not kept as it was written…→ broadcaster subscriptions apply FILE --reason REASON"},
		},
		{
			"a function has lost its tag",
			func(d *domain) {
				_, err := d.lambda.UntagResource(d.Context(), &lambda.UntagResourceInput{Resource: aws.String(d.arn("lambda", "function:"+consumer)), TagKeys: []string{invalidation.DomainTag}})
				d.must(err)
			},
			func(d *domain) { d.tag() },
			[]string{"subscriptions, applied …nothing is pushed to it without the tags secret-broadcaster:domain=payments", "push to payments-api: its clients take pushes…→ aws lambda tag-resource --resource arn:aws:lambda:…secret-broadcaster:domain=payments"},
		},
		{
			"the log is empty", func(d *domain) { d.forget() },
			func(d *domain) { d.begin() },
			[]string{"log: it is empty", "canary: no change of its secret has ever come"},
		},
	}...)
}

// TestEachTroubleIsNamed, and it alone, with what mends it; and when all are undone all is well.
func TestEachTroubleIsNamed(t *testing.T) {
	d := deployed(t)
	for _, c := range troubles() {
		c.does(d)
		ill, _ := d.examine()
		if len(ill) != len(c.want) {
			t.Errorf("%s: %d findings, want %d:\n%s", c.name, len(ill), len(c.want), strings.Join(ill, "\n"))
		}
		for i := range min(len(ill), len(c.want)) {
			rest := ill[i]
			for _, part := range strings.Split(c.want[i], "…") {
				_, after, ok := strings.Cut(rest, part)
				if !ok {
					t.Errorf("%s: %q is not in\n%s", c.name, part, ill[i])
				}
				rest = after
			}
		}
		c.undo(d)
	}
	if ill, _ := d.examine(); len(ill) > 0 {
		t.Errorf("all undone: %s", strings.Join(ill, "\n"))
	}
}

// TestTheQueuesPolicyIsMendedToTheTemplates: not to a weaker one.
func TestTheQueuesPolicyIsMendedToTheTemplates(t *testing.T) {
	d := deployed(t)
	d.queue("Policy", `{"Version":"2012-10-17","Statement":[]}`)
	ill, _ := d.examine()
	if len(ill) == 0 {
		t.Fatal("nothing is wrong")
	}
	_, argument, _ := strings.Cut(ill[0], "--attributes '")
	var attributes map[string]string
	d.must(json.Unmarshal([]byte(strings.TrimSuffix(argument, "'")), &attributes))
	var want, got any
	d.must(json.Unmarshal([]byte(d.queuePolicy(d.arn("events", "rule/prod-payments-broadcaster-tick"), d.arn("events", "rule/prod-payments-secret-call"))), &want))
	d.must(json.Unmarshal([]byte(attributes["Policy"]), &got))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEachPermissionThatIsTakenAwayIsNamed: of the role that docs/operating.md shows.
func TestEachPermissionThatIsTakenAwayIsNamed(t *testing.T) {
	d := deployed(t)
	documented := d.documented()
	taken := 0
	for i, statement := range documented.Statement {
		actions, several := statement["Action"].([]any)
		if !several {
			actions = []any{statement["Action"]}
		}
		want := map[any]string{"Allow": "role: it may not ", "Deny": "role: it is not denied to "}[statement["Effect"]]
		for _, action := range actions {
			taken++
			documented.Statement[i] = maps.Clone(statement)
			documented.Statement[i]["Action"] = append(slices.DeleteFunc(slices.Clone(actions), func(a any) bool { return a == action }), "sts:GetCallerIdentity")
			d.allow(function, documented.String())
			want := want + strings.TrimSuffix(action.(string), "*")
			if ill, _ := d.examine(); len(ill) == 0 || slices.ContainsFunc(ill, func(is string) bool { return !strings.HasPrefix(is, want) }) {
				t.Errorf("without %s: %q", action, ill)
			}
		}
		documented.Statement[i] = statement
	}
	if taken < 25 {
		t.Errorf("%d permissions were taken away", taken)
	}
}

// TestWhatTheCanaryHasShown of AWS is told; what it has not is not wrong.
func TestWhatTheCanaryHasShown(t *testing.T) {
	d := deployed(t)
	now := time.Now().Truncate(time.Second)
	const event, date = "assumed of AWS: Secret Label Updated tells of a moved AWSCURRENT", "assumed of AWS: a moved AWSCURRENT moves LastChangedDate, with milliseconds"
	for name, c := range map[string]struct {
		does                func()
		wantEvent, wantDate bool
	}{
		"all":                   {func() { d.changed(now.Add(-713*time.Millisecond), now, "Secret Label Updated") }, true, true},
		"no event of AWS's own": {func() { d.changed(now.Add(-713*time.Millisecond), now, "Scheduled Event") }, false, true},
		"no milliseconds":       {func() { d.changed(now, now, "Secret Label Updated") }, true, false},
		"a date of before":      {func() { d.changed(now.Add(-time.Hour-713*time.Millisecond), now, "Secret Label Updated") }, true, false},
	} {
		c.does()
		notes := map[string]string{}
		for _, f := range d.findings() {
			notes[f.Check] = f.Note
			if !f.OK {
				t.Errorf("%s: %+v", name, f)
			}
		}
		for check, want := range map[string]bool{event: c.wantEvent, date: c.wantDate} {
			if got := notes[check]; got != map[bool]string{true: "shown by revision 1", false: "not shown yet by a change of the canary"}[want] {
				t.Errorf("%s: %s: %q", name, check, got)
			}
		}
	}
	_, err := d.lambda.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: aws.String(canary)})
	d.must(err)
	for _, f := range d.findings() {
		if !f.OK || f.Check == "canary" && f.Note != "there is none" || strings.HasPrefix(f.Check, "assumed of AWS: ") && !strings.HasPrefix(f.Note, "not shown") {
			t.Errorf("without a canary: %+v", f)
		}
	}
}

// TestTheWrongFunctionEndsTheLook: nothing else is known then.
func TestTheWrongFunctionEndsTheLook(t *testing.T) {
	d := deployed(t)
	for name, c := range map[string]struct{ env, function, want string }{
		"none":         {"prod", "prod-payments-nobody", "there is no function prod-payments-nobody here"},
		"a consumer":   {"prod", consumer, "payments-api is no broadcaster"},
		"of other env": {"dev", function, "prod-payments-broadcaster is the broadcaster of prod/payments"},
	} {
		got := doctor.Examine(t.Context(), doctor.Config{AWS: d.on, Env: c.env, Domain: "payments", Function: c.function})
		if len(got) != 1 || got[0].OK || got[0].Check != "function" || !strings.HasPrefix(got[0].Problem, c.want) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
