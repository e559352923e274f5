package doctor_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventstypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/doctor"
	"github.com/bank-platform/secret-broadcaster/internal/awstest"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A domain is a deployed one, in an account of its own of a third party's emulator.
type domain struct {
	*testing.T
	account  string
	on       aws.Config
	lambda   *lambda.Client
	sqs      *sqs.Client
	events   *eventbridge.Client
	tables   *awsdynamodb.Client
	trails   *cloudtrail.Client
	iam      *iam.Client
	alarms   *cloudwatch.Client
	store    *dynamodb.Store
	queueURL string
	parked   string // the dead-letter queue's URL
	mapping  *string
}

const (
	function = "prod-payments-broadcaster"
	consumer = "payments-api"
	canary   = "prod-payments-canary"
	pattern  = `{"source":["aws.secretsmanager","secret-broadcaster"],"$or":[
		{"detail":{"name":[{"prefix":"/bank/prod/payments/"}]}},
		{"detail":{"requestParameters":{"secretId":[{"prefix":"/bank/prod/payments/"}]}}},
		{"detail":{"requestParameters":{"name":[{"prefix":"/bank/prod/payments/"}]}}},
		{"detail":{"additionalEventData":{"SecretId":[{"wildcard":"arn:aws:secretsmanager:*:*:secret:/bank/prod/payments/*"}]}}}]}`
)

func (d *domain) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *domain) arn(service, rest string) string {
	return "arn:aws:" + service + ":eu-west-2:" + d.account + ":" + rest
}

// deployed makes a domain in which all is well.
func deployed(t *testing.T) *domain {
	t.Helper()
	on, account := awstest.Config(t)
	d := &domain{
		T: t, account: account, on: on, lambda: lambda.NewFromConfig(on), sqs: sqs.NewFromConfig(on), events: eventbridge.NewFromConfig(on),
		tables: awsdynamodb.NewFromConfig(on), trails: cloudtrail.NewFromConfig(on), iam: iam.NewFromConfig(on), alarms: cloudwatch.NewFromConfig(on),
	}
	d.store = dynamodb.New(d.tables, "prod-payments-changes", "prod-payments-operations")
	d.deployTables()
	d.deployQueue()
	d.deployFunctions()
	d.deployRules()
	d.deployAlarms()
	_, err := d.trails.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("all"), S3BucketName: aws.String("trail")})
	d.must(err)
	_, err = d.trails.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("all")})
	d.must(err)
	d.begin()
	return d
}

func (d *domain) deployTables() {
	d.Helper()
	for _, name := range []string{"changes", "operations", "reports"} {
		table := aws.String("prod-payments-" + name)
		_, err := d.tables.CreateTable(d.Context(), &awsdynamodb.CreateTableInput{
			TableName: table, BillingMode: types.BillingModePayPerRequest, DeletionProtectionEnabled: aws.Bool(name != "reports"),
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("pk"), KeyType: "HASH"}, {AttributeName: aws.String("sk"), KeyType: "RANGE"}},
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("pk"), AttributeType: "S"}, {AttributeName: aws.String("sk"), AttributeType: "S"}},
		})
		d.must(err)
		if name != "reports" {
			d.recovery("prod-payments-"+name, true)
		}
	}
	d.expiry(true)
}

func (d *domain) recovery(table string, on bool) {
	d.Helper()
	_, err := d.tables.UpdateContinuousBackups(d.Context(), &awsdynamodb.UpdateContinuousBackupsInput{
		TableName: &table, PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: &on},
	})
	d.must(err)
}

func (d *domain) expiry(on bool) {
	d.Helper()
	_, err := d.tables.UpdateTimeToLive(d.Context(), &awsdynamodb.UpdateTimeToLiveInput{
		TableName: aws.String("prod-payments-reports"), TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("ttl"), Enabled: &on},
	})
	d.must(err)
}

func (d *domain) protect(table string, on bool) {
	d.Helper()
	_, err := d.tables.UpdateTable(d.Context(), &awsdynamodb.UpdateTableInput{TableName: &table, DeletionProtectionEnabled: &on})
	d.must(err)
}

func (d *domain) deployQueue() {
	d.Helper()
	parked, err := d.sqs.CreateQueue(d.Context(), &sqs.CreateQueueInput{QueueName: aws.String(function + "-dead-letters")})
	d.must(err)
	queue, err := d.sqs.CreateQueue(d.Context(), &sqs.CreateQueueInput{QueueName: aws.String(function)})
	d.must(err)
	d.parked, d.queueURL = *parked.QueueUrl, *queue.QueueUrl
	d.letIn(d.arn("events", "rule/prod-payments-secret-call"), d.arn("events", "rule/prod-payments-broadcaster-tick"))
	d.queue("VisibilityTimeout", "300")
	d.queue("MessageRetentionPeriod", "1209600")
	d.retain(d.parked, "1209600")
	d.redrive(5)
}

// letIn sets the queue's policy as the template does, for some rules.
func (d *domain) letIn(rules ...string) {
	d.Helper()
	d.queue("Policy", d.queuePolicy(rules...))
}

// queuePolicy is the template's.
func (d *domain) queuePolicy(rules ...string) string {
	d.Helper()
	queues := []string{d.arn("sqs", function), d.arn("sqs", function+"-dead-letters")}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{
			"Sid": "TheRulesSend", "Effect": "Allow", "Principal": map[string]string{"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queues,
			"Condition": map[string]any{"ArnEquals": map[string]any{"aws:SourceArn": rules}},
		},
		map[string]any{
			"Sid": "NothingInTheClear", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": queues,
			"Condition": map[string]any{"Bool": map[string]string{"aws:SecureTransport": "false"}},
		},
	}})
	d.must(err)
	return string(text)
}

func (d *domain) queue(attribute, value string) {
	d.Helper()
	_, err := d.sqs.SetQueueAttributes(d.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &d.queueURL, Attributes: map[string]string{attribute: value}})
	d.must(err)
}

func (d *domain) retain(queue, seconds string) {
	d.Helper()
	_, err := d.sqs.SetQueueAttributes(d.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &queue, Attributes: map[string]string{"MessageRetentionPeriod": seconds}})
	d.must(err)
}

func (d *domain) redrive(receives int) {
	d.Helper()
	d.queue("RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, d.arn("sqs", function+"-dead-letters"), receives))
}

func (d *domain) deployFunctions() {
	d.Helper()
	var code bytes.Buffer
	archive := zip.NewWriter(&code)
	w, err := archive.Create("bootstrap")
	d.must(err)
	_, err = w.Write([]byte("#!/bin/sh\n")) // it is never invoked
	d.must(err)
	d.must(archive.Close())
	for _, f := range []lambda.CreateFunctionInput{
		{FunctionName: aws.String(function), Timeout: aws.Int32(300), Environment: &lambdatypes.Environment{Variables: map[string]string{
			"BROADCASTER_ENV": "prod", "BROADCASTER_DOMAIN": "payments", "BROADCASTER_QUEUE_URL": d.queueURL, "BROADCASTER_CHANGES_TABLE": "prod-payments-changes",
			"BROADCASTER_OPERATIONS_TABLE": "prod-payments-operations", "BROADCASTER_REPORTS_TABLE": "prod-payments-reports",
		}}},
		{FunctionName: aws.String(consumer)},
		{FunctionName: aws.String(canary)},
	} {
		f.Runtime, f.Handler, f.Role = lambdatypes.RuntimeProvidedal2023, aws.String("bootstrap"), d.role(*f.FunctionName)
		f.Code = &lambdatypes.FunctionCode{ZipFile: code.Bytes()}
		_, err := d.lambda.CreateFunction(d.Context(), &f)
		d.must(err)
		active := lambda.NewFunctionActiveV2Waiter(d.lambda, func(o *lambda.FunctionActiveV2WaiterOptions) { o.MinDelay = 50 * time.Millisecond })
		d.must(active.Wait(d.Context(), &lambda.GetFunctionInput{FunctionName: f.FunctionName}, time.Minute))
	}
	for _, name := range []string{"live", "pause", "resume"} {
		d.alias(name)
	}
	d.allow(function, d.documented().String())
	d.allow(consumer, d.clientPolicy("dynamodb:Query", "dynamodb:PutItem"))
	d.tag()
	m, err := d.lambda.CreateEventSourceMapping(d.Context(), &lambda.CreateEventSourceMappingInput{
		FunctionName: aws.String(function + ":live"), EventSourceArn: aws.String(d.arn("sqs", function)), FunctionResponseTypes: []lambdatypes.FunctionResponseType{"ReportBatchItemFailures"},
	})
	d.must(err)
	d.mapping = m.UUID
}

// role makes the role of a function, which may nothing yet.
func (d *domain) role(name string) *string {
	d.Helper()
	out, err := d.iam.CreateRole(d.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`)})
	d.must(err)
	return out.Role.Arn
}

// allow sets the policy of a role.
func (d *domain) allow(role, policy string) {
	d.Helper()
	_, err := d.iam.PutRolePolicy(d.Context(), &iam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String("all"), PolicyDocument: &policy})
	d.must(err)
}

// clientPolicy allows a client this of the log and that of the reports.
func (d *domain) clientPolicy(ofLog, ofReports string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":%q,"Resource":%q},{"Effect":"Allow","Action":%q,"Resource":%q}]}`,
		ofLog, d.arn("dynamodb", "table/prod-payments-changes"), ofReports, d.arn("dynamodb", "table/prod-payments-reports"))
}

func (d *domain) alias(name string) {
	d.Helper()
	_, err := d.lambda.CreateAlias(d.Context(), &lambda.CreateAliasInput{FunctionName: aws.String(function), Name: &name, FunctionVersion: aws.String("$LATEST")})
	d.must(err)
}

func (d *domain) unalias(name string) {
	d.Helper()
	_, err := d.lambda.DeleteAlias(d.Context(), &lambda.DeleteAliasInput{FunctionName: aws.String(function), Name: &name})
	d.must(err)
}

func (d *domain) tag() {
	d.Helper()
	_, err := d.lambda.TagResource(d.Context(), &lambda.TagResourceInput{
		Resource: aws.String(d.arn("lambda", "function:"+consumer)),
		Tags:     map[string]string{invalidation.PushTag: "true", invalidation.EnvTag: "prod", invalidation.DomainTag: "payments"},
	})
	d.must(err)
}

func (d *domain) rule(name, pattern, schedule string) { d.ruleOn("default", name, pattern, schedule) }

func (d *domain) ruleOn(bus, name, pattern, schedule string) {
	d.Helper()
	in := &eventbridge.PutRuleInput{Name: &name, EventBusName: &bus}
	if pattern != "" {
		in.EventPattern = &pattern
	}
	if schedule != "" {
		in.ScheduleExpression = &schedule
	}
	_, err := d.events.PutRule(d.Context(), in)
	d.must(err)
	_, err = d.events.PutTargets(d.Context(), &eventbridge.PutTargetsInput{
		Rule: &name, EventBusName: &bus, Targets: []eventstypes.Target{{Id: aws.String("queue"), Arn: aws.String(d.arn("sqs", function))}},
	})
	d.must(err)
}

// remove takes a rule off a bus.
func (d *domain) remove(bus, name string) {
	d.Helper()
	_, err := d.events.RemoveTargets(d.Context(), &eventbridge.RemoveTargetsInput{Rule: &name, EventBusName: &bus, Ids: []string{"queue"}})
	d.must(err)
	_, err = d.events.DeleteRule(d.Context(), &eventbridge.DeleteRuleInput{Name: &name, EventBusName: &bus})
	d.must(err)
}

func (d *domain) deployRules() {
	d.Helper()
	d.rule("prod-payments-secret-call", pattern, "")
	d.rule("prod-payments-broadcaster-tick", "", "rate(5 minutes)")
	d.canaryRule("rate(15 minutes)")
	d.archive()
	_, err := d.events.CreateEventBus(d.Context(), &eventbridge.CreateEventBusInput{Name: aws.String("another")})
	d.must(err)
}

// begin writes what a first tick does, the report of an environment, and a change of the canary's.
func (d *domain) begin() {
	d.Helper()
	d.changed(time.Now().Truncate(time.Second).Add(-713*time.Millisecond), time.Now(), "Secret Label Updated")
	d.ticked(time.Now())
	d.report("e1", 3, 0)
	d.subscribe(consumer)
}

// changed makes a change of the canary's the only row of the log.
func (d *domain) changed(date, appended time.Time, told string) {
	d.Helper()
	const name = "/bank/prod/payments/secret-broadcaster/canary"
	d.forget()
	known, err := d.store.Load(d.Context(), []string{name})
	d.must(err)
	_, err = d.store.Append(d.Context(), invalidation.Append{
		Row: wire.Row{
			Schema: wire.Schema, Env: "prod", Domain: "payments", Revision: 1, Time: appended,
			Changes: []wire.Change{{Name: name, Kind: wire.Moved, VersionID: "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE", At: date}},
		},
		Secrets: []invalidation.SecretRow{{Name: name, LastChanged: date, Revision: 1, Sequence: known.Secrets[name].Sequence}},
		Causes:  []invalidation.Cause{{EventID: "e", DetailType: told}},
	})
	d.must(err)
}

// forget takes the row of the log away.
func (d *domain) forget() {
	d.Helper()
	key := map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: wire.LogPartition}, "sk": &types.AttributeValueMemberS{Value: wire.RevisionKey(1)}}
	_, err := d.tables.DeleteItem(d.Context(), &awsdynamodb.DeleteItemInput{TableName: aws.String("prod-payments-changes"), Key: key})
	d.must(err)
}

func (d *domain) ticked(at time.Time) {
	d.Helper()
	d.must(d.store.SaveProgress(d.Context(), invalidation.Progress{First: at, Completed: at}))
}

func (d *domain) report(environment string, checks, failures int64) {
	d.Helper()
	data, err := json.Marshal(wire.Report{
		Schema: wire.Schema, Service: consumer, Function: d.arn("lambda", "function:"+consumer+":live"), Environment: environment, TakesInvalidations: true,
		Time: time.Now(), Counts: wire.Counts{Checks: checks, CheckFailures: failures},
	})
	d.must(err)
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	_, err = d.tables.PutItem(d.Context(), &awsdynamodb.PutItemInput{TableName: aws.String("prod-payments-reports"), Item: map[string]types.AttributeValue{
		"pk": text(wire.ReportPartition(environment)), "sk": text(wire.ReportKey(consumer, environment)), "data": text(string(data)),
	}})
	d.must(err)
}

// findings are what the doctor finds.
func (d *domain) findings() []doctor.Finding {
	return doctor.Examine(d.Context(), doctor.Config{AWS: d.on, Env: "prod", Domain: "payments", Function: function, Commands: []string{"pause", "resume"}})
}

// examine returns what is not well, as check: problem → fix.
func (d *domain) examine() (ill []string, looked int) {
	d.Helper()
	findings := d.findings()
	for _, f := range findings {
		if !f.OK {
			ill = append(ill, f.Check+": "+f.Problem+" → "+f.Fix)
		}
	}
	return ill, len(findings)
}

func TestAllIsWell(t *testing.T) {
	d := deployed(t)
	if ill, looked := d.examine(); len(ill) > 0 || looked != 28 {
		t.Errorf("%d looks, and not well:\n%s", looked, strings.Join(ill, "\n"))
	}
}
