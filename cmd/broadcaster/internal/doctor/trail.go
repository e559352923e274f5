package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventstypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

// lookAtTrail looks for a trail that logs what is done to secrets. Without one only the native event tells: not of
// deletions, nor of rotations that failed.
func (p *patient) lookAtTrail(ctx context.Context) {
	const check = "trail"
	out, err := p.trails.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{})
	if err != nil {
		p.dark(check, err)
		return
	}
	stopped := ""
	for _, t := range out.TrailList {
		status, err := p.trails.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: t.TrailARN})
		if err != nil {
			p.dark(check, err)
			return
		}
		if !aws.ToBool(status.IsLogging) {
			stopped = aws.ToString(t.Name)
			continue
		}
		writes, err := p.logsWrites(ctx, t.TrailARN)
		if err != nil {
			p.dark(check, err)
			return
		}
		if writes {
			p.well(check)
			return
		}
	}
	const without = "deletions, restorations and failed rotations are not told of"
	if stopped != "" {
		p.ill(check, "trail "+stopped+" does not log: "+without, "aws cloudtrail start-logging --name "+stopped)
		return
	}
	p.ill(check, "no trail logs management events that write: "+without, "have whoever runs the account's trails log management events")
}

func (p *patient) logsWrites(ctx context.Context, trail *string) (bool, error) {
	out, err := p.trails.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: trail})
	if err != nil {
		return false, err
	}
	for _, s := range out.EventSelectors {
		if (s.IncludeManagementEvents == nil || *s.IncludeManagementEvents) && s.ReadWriteType != "ReadOnly" {
			return true, nil
		}
	}
	for _, s := range out.AdvancedEventSelectors {
		management, reads := false, false
		for _, f := range s.FieldSelectors {
			management = management || aws.ToString(f.Field) == "eventCategory" && len(f.Equals) == 1 && f.Equals[0] == "Management"
			reads = reads || aws.ToString(f.Field) == "readOnly" && len(f.Equals) == 1 && f.Equals[0] == "true"
		}
		if management && !reads {
			return true, nil
		}
	}
	return len(out.EventSelectors)+len(out.AdvancedEventSelectors) == 0, nil // a trail without any logs management events
}

// archiveSuffix is how the names of archives of Secrets Manager's events end; an env stands before it.
const archiveSuffix = "-secretsmanager"

// lookAtArchive looks at what keeps events for a replay. The bus is shared, so one of another env keeps this one's too.
func (p *patient) lookAtArchive(ctx context.Context) {
	const check = "archive"
	bus := p.arnOf("events", "event-bus/"+defaultBus)
	out, err := p.events.ListArchives(ctx, &eventbridge.ListArchivesInput{EventSourceArn: &bus})
	if err != nil {
		p.dark(check, err)
		return
	}
	own, other := p.cfg.Env+archiveSuffix, ""
	for _, a := range out.Archives {
		switch name := aws.ToString(a.ArchiveName); {
		case a.State != eventstypes.ArchiveStateEnabled:
		case name == own:
			p.well(check)
			return
		case strings.HasSuffix(name, archiveSuffix):
			other = name
		}
	}
	if other != "" {
		p.note(check, "this env has none; "+other+" keeps its events too")
		return
	}
	p.ill(check, "nothing keeps Secrets Manager's events: replay --from archive has none to send", fmt.Sprintf(
		`aws events create-archive --archive-name %s --event-source-arn %s --event-pattern '{"source":["aws.secretsmanager"]}' --retention-days 30`, own, bus))
}
