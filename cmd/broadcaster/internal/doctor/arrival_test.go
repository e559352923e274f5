package doctor_test

import (
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// arrivalTroubles are what may keep an event from arriving, or people from hearing of it.
func arrivalTroubles() []trouble {
	const events, tick = "prod-payments-secret-call", "prod-payments-broadcaster-tick"
	well := func(d *domain) { d.rule(events, pattern, "") }
	letIn := func(d *domain, more ...string) {
		d.letIn(append([]string{d.arn("events", "rule/"+events), d.arn("events", "rule/"+tick)}, more...)...)
	}
	ticks := func(d *domain) { d.rule(tick, "", "rate(5 minutes)"); d.ticked(time.Now()) }
	only := func(kinds string) func(*domain) {
		return func(d *domain) {
			d.rule(events, strings.Replace(pattern, `{"source"`, `{"detail":{"eventName":[{"exists":false},`+kinds+`]},"source"`, 1), "")
		}
	}
	return []trouble{
		{
			"the rule takes some calls only", only(`"DeleteSecret","RotationSucceeded"`), well,
			[]string{"rules: no enabled rule takes PutSecretValue, UpdateSecretVersionStage, UpdateSecret, CreateSecret, RestoreSecret, ReplicationSucceeded, RotationFailed, RotationAbandoned, ReplicationFailed →"},
		},
		{
			"another domain's events come to this queue",
			func(d *domain) {
				d.rule("prod-kyc-events", strings.ReplaceAll(pattern, "payments", "kyc"), "")
				letIn(d, d.arn("events", "rule/prod-kyc-events"))
			},
			func(d *domain) { d.remove("default", "prod-kyc-events"); letIn(d) },
			[]string{"rules: rule prod-kyc-events takes Secret Label Updated of prod/kyc, and nothing of this domain → aws events remove-targets --rule prod-kyc-events --event-bus-name default --ids queue"},
		},
		{
			"another env's events come with this one's",
			func(d *domain) {
				d.rule(events, strings.Replace(pattern, `{"prefix":"/bank/prod/payments/"}`, `{"prefix":"/bank/prod/payments/"},{"prefix":"/bank/dev/payments/"}`, 1), "")
			}, well,
			[]string{"rules: rule prod-payments-secret-call takes Secret Label Updated of dev/payments: what it is to take has to begin with /bank/prod/payments/"},
		},
		{
			"it ticks once a day", func(d *domain) { d.rule(tick, "", "rate(1 day)") }, ticks,
			[]string{"schedule: it ticks by rate(1 day)…→ aws events put-rule --name prod-payments-broadcaster-tick --event-bus-name default --schedule-expression 'rate(5 minutes)'"},
		},
		{
			"it ticks every quarter of an hour, and the last was a while ago",
			func(d *domain) { d.rule(tick, "", "rate(15 minutes)"); d.ticked(time.Now().Add(-40 * time.Minute)) }, ticks, nil,
		},
		{
			"three ticks did not come", func(d *domain) { d.ticked(time.Now().Add(-16 * time.Minute)) }, ticks,
			[]string{"ticks: the last one that looked for missed changes to its end was 16m0s ago"},
		},
		{
			"the queue forgets", func(d *domain) { d.queue("MessageRetentionPeriod", "60") }, func(d *domain) { d.queue("MessageRetentionPeriod", "1209600") },
			[]string{`queue: a message is gone after 1m0s…→ aws sqs set-queue-attributes --queue-url …{"MessageRetentionPeriod":"1209600"}`},
		},
		{
			"the queue waits", func(d *domain) { d.queue("DelaySeconds", "900") }, func(d *domain) { d.queue("DelaySeconds", "0") },
			[]string{`queue: each message waits for 900s…→ aws sqs set-queue-attributes --queue-url …{"DelaySeconds":"0"}`},
		},
		{
			"the dead-letter queue forgets", func(d *domain) { d.retain(d.parked, "345600") }, func(d *domain) { d.retain(d.parked, "1209600") },
			[]string{`dead-letter queue: a message is gone after 96h0m0s…→ aws sqs set-queue-attributes --queue-url …-dead-letters …{"MessageRetentionPeriod":"1209600"}`},
		},
		{
			"somebody looks at what is parked",
			func(d *domain) {
				_, err := d.sqs.SendMessage(d.Context(), &sqs.SendMessageInput{QueueUrl: &d.parked, MessageBody: aws.String("{}")})
				d.must(err)
				_, err = d.sqs.ReceiveMessage(d.Context(), &sqs.ReceiveMessageInput{QueueUrl: &d.parked, VisibilityTimeout: 300})
				d.must(err)
			},
			func(d *domain) {
				_, err := d.sqs.PurgeQueue(d.Context(), &sqs.PurgeQueueInput{QueueUrl: &d.parked})
				d.must(err)
			},
			[]string{"dead-letter queue: messages are parked: 1, of which somebody looks at 1"},
		},
		{
			"the function is throttled to nothing",
			func(d *domain) {
				_, err := d.lambda.PutFunctionConcurrency(d.Context(), &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String(function), ReservedConcurrentExecutions: aws.Int32(0)})
				d.must(err)
			},
			func(d *domain) {
				_, err := d.lambda.DeleteFunctionConcurrency(d.Context(), &lambda.DeleteFunctionConcurrencyInput{FunctionName: aws.String(function)})
				d.must(err)
			},
			[]string{"event source: the function is throttled: its reserved concurrency is 0…→ aws lambda delete-function-concurrency --function-name prod-payments-broadcaster"},
		},
		{
			"the alias that takes the messages is gone", func(d *domain) { d.unalias("live") }, func(d *domain) { d.alias("live") },
			[]string{"event source: the function has no alias live → aws lambda create-alias --function-name prod-payments-broadcaster --name live"},
		},
		{
			"a function that is subscribed is gone", func(d *domain) { d.subscribe("gone:live") }, func(d *domain) { d.subscribe(consumer) },
			[]string{"subscriptions, applied …: the manifest that holds:6:…: services[0].function: there is no such function…→ broadcaster subscriptions apply FILE"},
		},
		{
			"a function that is subscribed lost its alias", func(d *domain) { d.subscribe(consumer + ":live") }, func(d *domain) { d.subscribe(consumer) },
			[]string{"subscriptions, applied …services[0].function: there is no such function, or no such alias of it"},
		},
		{
			"a function that is subscribed is of nobody", func(d *domain) { d.subscribe(canary) }, func(d *domain) { d.subscribe(consumer) },
			[]string{"subscriptions, applied …services[0].function: nothing is pushed to it without the tags secret-broadcaster:push=true"},
		},
		{
			"the archive is gone",
			func(d *domain) {
				_, err := d.events.DeleteArchive(d.Context(), &eventbridge.DeleteArchiveInput{ArchiveName: aws.String("prod-secretsmanager")})
				d.must(err)
			},
			func(d *domain) { d.archive() },
			[]string{"archive: nothing keeps Secrets Manager's events…→ aws events create-archive --archive-name prod-secretsmanager --event-source-arn arn:aws:events:…event-bus/default"},
		},
		{
			"an alarm is gone",
			func(d *domain) {
				_, err := d.alarms.DeleteAlarms(d.Context(), &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{"prod-payments-broadcaster-missed"}})
				d.must(err)
			},
			func(d *domain) { d.alarm("missed") },
			[]string{"alarms: not there, so nobody is told: prod-payments-broadcaster-missed → make deploy ENV=prod DOMAIN=payments"},
		},
		{
			"an alarm tells nobody",
			func(d *domain) {
				_, err := d.alarms.DisableAlarmActions(d.Context(), &cloudwatch.DisableAlarmActionsInput{AlarmNames: []string{"prod-payments-broadcaster-missed"}})
				d.must(err)
			},
			func(d *domain) { d.alarm("missed") },
			[]string{"alarms: nobody is told by prod-payments-broadcaster-missed → aws cloudwatch enable-alarm-actions --alarm-names prod-payments-broadcaster-missed"},
		},
		{
			"the topics are gone",
			func(d *domain) { d.topic("DeleteTopic", url.Values{"TopicArn": {d.arn("sns", "prod-page")}}) }, func(d *domain) { d.createTopic() },
			[]string{"alarms: they tell arn:aws:sns:…prod-page, which is not there, or is not of env prod → make deploy-all ENV=prod"},
		},
		{
			"the canary's rule is disabled",
			func(d *domain) {
				_, err := d.events.DisableRule(d.Context(), &eventbridge.DisableRuleInput{Name: aws.String(canary)})
				d.must(err)
			},
			func(d *domain) {
				_, err := d.events.EnableRule(d.Context(), &eventbridge.EnableRuleInput{Name: aws.String(canary)})
				d.must(err)
			},
			[]string{"canary: rule prod-payments-canary is disabled → aws events enable-rule --name prod-payments-canary"},
		},
		{
			"a canary that seldom comes is not late",
			func(d *domain) {
				d.canaryRule("rate(60 minutes)")
				d.changed(time.Now().Add(-100*time.Minute), time.Now().Add(-100*time.Minute), "Secret Label Updated")
			},
			func(d *domain) { d.canaryRule("rate(15 minutes)"); d.begin() }, nil,
		},
	}
}
