package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
)

// names returns the names of the domain's tables.
func (p *patient) names() (changes, operations, reports string) {
	return p.variables["BROADCASTER_CHANGES_TABLE"], p.variables["BROADCASTER_OPERATIONS_TABLE"], p.variables["BROADCASTER_REPORTS_TABLE"]
}

func (p *patient) lookAtTables(ctx context.Context) {
	changes, operations, reports := p.names()
	for _, name := range []string{changes, operations, reports} {
		check := "table " + name
		out, err := p.tables.DescribeTable(ctx, &awsdynamodb.DescribeTableInput{TableName: &name})
		if err != nil {
			if codeOf(err) == notFound {
				p.ill(check, "it is not there", p.redeploy())
				continue
			}
			p.dark(check, err)
			continue
		}
		before := len(p.findings)
		if !hasOurKeys(out.Table) {
			p.ill(check, "its keys are not pk and sk, both strings", p.redeploy())
		}
		if name == reports {
			p.lookAtExpiry(ctx, check, name)
		} else {
			p.lookAtProtection(ctx, check, out.Table)
		}
		if len(p.findings) == before {
			p.well(check)
		}
	}
}

func hasOurKeys(t *types.TableDescription) bool {
	keys := map[string]types.KeyType{}
	for _, k := range t.KeySchema {
		keys[aws.ToString(k.AttributeName)] = k.KeyType
	}
	texts := !slices.ContainsFunc(t.AttributeDefinitions, func(a types.AttributeDefinition) bool {
		return (aws.ToString(a.AttributeName) == "pk" || aws.ToString(a.AttributeName) == "sk") && a.AttributeType != types.ScalarAttributeTypeS
	})
	return len(keys) == 2 && keys["pk"] == types.KeyTypeHash && keys["sk"] == types.KeyTypeRange && texts
}

func (p *patient) lookAtProtection(ctx context.Context, check string, t *types.TableDescription) {
	name := aws.ToString(t.TableName)
	if !aws.ToBool(t.DeletionProtectionEnabled) {
		p.ill(check, "it is not protected from deletion", "aws dynamodb update-table --table-name "+name+" --deletion-protection-enabled")
	}
	out, err := p.tables.DescribeContinuousBackups(ctx, &awsdynamodb.DescribeContinuousBackupsInput{TableName: &name})
	if err != nil {
		p.dark(check, err)
		return
	}
	if b := out.ContinuousBackupsDescription; b == nil || b.PointInTimeRecoveryDescription == nil || b.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus != types.PointInTimeRecoveryStatusEnabled {
		p.ill(check, "it has no point-in-time recovery",
			"aws dynamodb update-continuous-backups --table-name "+name+" --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true")
	}
}

func (p *patient) lookAtExpiry(ctx context.Context, check, name string) {
	out, err := p.tables.DescribeTimeToLive(ctx, &awsdynamodb.DescribeTimeToLiveInput{TableName: &name})
	if err != nil {
		p.dark(check, err)
		return
	}
	if d := out.TimeToLiveDescription; d == nil || d.TimeToLiveStatus != types.TimeToLiveStatusEnabled || aws.ToString(d.AttributeName) != "ttl" {
		p.ill(check, "reports do not expire", "aws dynamodb update-time-to-live --table-name "+name+" --time-to-live-specification Enabled=true,AttributeName=ttl")
	}
}

// lookAtLog looks at what the broadcaster has written: whether it began, ticks, and pushes.
func (p *patient) lookAtLog(ctx context.Context) {
	const check, ticks, pushes = "log", "ticks", "pushes"
	changes, operations, _ := p.names()
	store := dynamodb.New(p.tables, changes, operations)
	head, err := store.Row(ctx, 0)
	switch {
	case err != nil:
		p.dark(check, err)
	case head.Revision == 0:
		p.ill(check, "it is empty: neither an event nor a tick has arrived", "look at the rules, the queue and the event source above")
	default:
		p.well(check)
	}
	progress, err := store.Progress(ctx)
	switch age := p.cfg.Now().Sub(progress.Completed); {
	case err != nil:
		p.dark(ticks, err)
	case progress.Completed.IsZero():
		p.ill(ticks, "no tick has looked for missed changes to its end", "look at the schedule above, and for \"reconciling\" in the function's log")
	case age > 3*p.tick: // as the heartbeat's alarm has it: a tick may be lost, and one may be long
		p.ill(ticks, fmt.Sprintf("the last one that looked for missed changes to its end was %v ago", age.Round(time.Minute)), "look at the schedule above, and for \"reconciling\" in the function's log")
	default:
		p.well(ticks)
	}
	pause, err := store.Pause(ctx)
	switch {
	case err != nil:
		p.dark(pushes, err)
	case pause.Paused:
		p.ill(pushes, fmt.Sprintf("they are paused since %s, by %s: %s", pause.At.Format(time.RFC3339), pause.By, pause.Reason),
			fmt.Sprintf("broadcaster resume --env %s --domain %s --reason REASON", p.cfg.Env, p.cfg.Domain))
	default:
		p.well(pushes)
	}
}
