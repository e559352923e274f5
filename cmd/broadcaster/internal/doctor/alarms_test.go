package doctor_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventstypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

// deployAlarms makes the topic and the template's alarms.
func (d *domain) deployAlarms() {
	d.Helper()
	d.createTopic()
	for _, name := range d.alarmNames() {
		d.alarm(name)
	}
}

// alarmNames are what follows the broadcaster's name in those of the template's alarms.
func (d *domain) alarmNames() (all []string) {
	d.Helper()
	template, err := os.ReadFile("../../../../infra/domain.yaml")
	d.must(err)
	names := regexp.MustCompile(`AlarmName: !Sub "\$\{Env\}-\$\{Domain\}-broadcaster-([a-z-]+)"`).FindAllSubmatch(template, -1)
	if len(names) < 10 {
		d.Fatalf("the template has %d alarms", len(names))
	}
	for _, name := range names {
		all = append(all, string(name[1]))
	}
	slices.Sort(all)
	return all
}

// TestEveryAlarmOfTheTemplateIsMissed where it is gone.
func TestEveryAlarmOfTheTemplateIsMissed(t *testing.T) {
	d := deployed(t)
	var names []string
	for _, name := range d.alarmNames() {
		names = append(names, "prod-payments-broadcaster-"+name)
	}
	_, err := d.alarms.DeleteAlarms(t.Context(), &cloudwatch.DeleteAlarmsInput{AlarmNames: names})
	d.must(err)
	want := "alarms: not there, so nobody is told: " + strings.Join(names, ", ") + " → make deploy ENV=prod DOMAIN=payments"
	if ill, _ := d.examine(); !slices.Equal(ill, []string{want}) {
		t.Errorf("got %q, want %q", ill, want)
	}
}

func (d *domain) alarm(name string) {
	d.Helper()
	_, err := d.alarms.PutMetricAlarm(d.Context(), &cloudwatch.PutMetricAlarmInput{
		AlarmName: aws.String("prod-payments-broadcaster-" + name), Namespace: aws.String("SecretBroadcaster"), MetricName: aws.String("Heartbeat"), Statistic: types.StatisticSum,
		Period: aws.Int32(60), EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(1), ComparisonOperator: types.ComparisonOperatorLessThanThreshold,
		AlarmActions: []string{d.arn("sns", "prod-page")},
	})
	d.must(err)
}

func (d *domain) createTopic() {
	d.Helper()
	d.topic("CreateTopic", url.Values{"Name": {"prod-page"}, "Tags.member.1.Key": {"secret-broadcaster:env"}, "Tags.member.1.Value": {"prod"}})
}

// topic asks SNS, of which nothing but this needs a client.
func (d *domain) topic(action string, values url.Values) {
	d.Helper()
	values.Set("Action", action)
	request, err := http.NewRequestWithContext(d.Context(), http.MethodPost, *d.on.BaseEndpoint, strings.NewReader(values.Encode()))
	d.must(err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/20261123/%s/sns/aws4_request, SignedHeaders=host, Signature=0", d.account, d.on.Region))
	answer, err := d.on.HTTPClient.Do(request)
	d.must(err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		d.Fatalf("%s: %s", action, answer.Status)
	}
}

func (d *domain) archive() {
	d.Helper()
	_, err := d.events.CreateArchive(d.Context(), &eventbridge.CreateArchiveInput{
		ArchiveName: aws.String("prod-secretsmanager"), EventSourceArn: aws.String(d.arn("events", "event-bus/default")), EventPattern: aws.String(`{"source":["aws.secretsmanager"]}`),
	})
	d.must(err)
}

// canaryRule makes what has the canary change its secret.
func (d *domain) canaryRule(schedule string) {
	d.Helper()
	_, err := d.events.PutRule(d.Context(), &eventbridge.PutRuleInput{Name: aws.String(canary), ScheduleExpression: &schedule})
	d.must(err)
	_, err = d.events.PutTargets(d.Context(), &eventbridge.PutTargetsInput{
		Rule: aws.String(canary), Targets: []eventstypes.Target{{Id: aws.String("canary"), Arn: aws.String(d.arn("lambda", "function:"+canary))}},
	})
	d.must(err)
}
