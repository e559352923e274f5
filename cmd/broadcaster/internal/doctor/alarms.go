package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cloudwatchtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	taggingtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"

	"github.com/bank-platform/secret-broadcaster/invalidation"
)

// alarmNames are what follows the broadcaster's name in those of the template's alarms; canary's is there with a canary.
func alarmNames() []string {
	return []string{
		"canary", "check-failures", "dead-letters", "dead-letters-expire", "duration", "errors", "failed", "failed-deliveries", "failed-deliveries-now", "heartbeat",
		"misrouted", "missed", "open-fanouts", "queue-age", "recently-read-deleted", "recently-read-deleted-now", "slow-append", "throttles", "unknown", "warnings", "warnings-now",
	}
}

// lookAtAlarms looks at whether somebody would be told: whether each alarm is there and tells a topic that is.
func (p *patient) lookAtAlarms(ctx context.Context) {
	const check = "alarms"
	prefix := p.cfg.Env + "-" + p.cfg.Domain + "-broadcaster-"
	there := map[string]bool{}
	topics := map[string]bool{} // that are told
	var silent []string
	for pages := cloudwatch.NewDescribeAlarmsPaginator(p.alarms, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: &prefix, AlarmTypes: []cloudwatchtypes.AlarmType{cloudwatchtypes.AlarmTypeMetricAlarm}}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			p.dark(check, err)
			return
		}
		for _, a := range page.MetricAlarms {
			name := aws.ToString(a.AlarmName)
			there[strings.TrimPrefix(name, prefix)] = true
			if !aws.ToBool(a.ActionsEnabled) {
				silent = append(silent, name)
			}
			for _, action := range a.AlarmActions {
				topics[action] = true
			}
		}
	}
	before := len(p.findings)
	missing := slices.DeleteFunc(alarmNames(), func(name string) bool { return there[name] || name == "canary" && !p.hasCanary })
	if len(missing) > 0 {
		p.ill(check, "not there, so nobody is told: "+prefix+strings.Join(missing, ", "+prefix), p.redeploy())
	}
	if len(silent) > 0 {
		p.ill(check, "nobody is told by "+strings.Join(silent, ", "), "aws cloudwatch enable-alarm-actions --alarm-names "+strings.Join(silent, " "))
	}
	if err := p.lookAtTopics(ctx, check, topics); err != nil {
		p.dark(check, err)
		return
	}
	if len(p.findings) == before {
		p.well(check)
	}
}

// lookAtTopics looks at whether the topics that the alarms tell are there: those of the platform's stack have the env's tag.
func (p *patient) lookAtTopics(ctx context.Context, check string, told map[string]bool) error {
	for pages := tagging.NewGetResourcesPaginator(p.tags, &tagging.GetResourcesInput{
		ResourceTypeFilters: []string{"sns"}, TagFilters: []taggingtypes.TagFilter{{Key: aws.String(invalidation.EnvTag), Values: []string{p.cfg.Env}}},
	}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, is := range page.ResourceTagMappingList {
			delete(told, aws.ToString(is.ResourceARN))
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(told)) {
		p.ill(check, fmt.Sprintf("they tell %s, which is not there, or is not of env %s", topic, p.cfg.Env), "make deploy-all ENV="+p.cfg.Env)
	}
	return nil
}
