package replays

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

// ArchiveDelay is how long an event may take to reach an archive: what is replayed earlier misses it
// (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-archive.html).
const ArchiveDelay = 10 * time.Minute

// ErrNoRules says that no rule with an event pattern sends to the queue.
var ErrNoRules = errors.New("no rule sends events to the queue")

// A Window is the events of a time.
type Window struct{ From, To time.Time }

// A Replay is how one stands.
type Replay struct {
	Name  string `json:"name"`
	State string `json:"state"` // STARTING, RUNNING, CANCELLING, COMPLETED, CANCELLED or FAILED
	// Reason says why, of one that failed.
	Reason string `json:"reason,omitempty"`
	// At is the time of the event that was replayed last.
	At time.Time `json:"at,omitzero"`
}

// Over reports whether it does not go on.
func (r Replay) Over() bool {
	return r.State == string(types.ReplayStateCompleted) || r.State == string(types.ReplayStateCancelled) || r.State == string(types.ReplayStateFailed)
}

// Done reports whether it has replayed all that it was to.
func (r Replay) Done() bool { return r.State == string(types.ReplayStateCompleted) }

// An Archive is one of events of Secrets Manager. What EventBridge replays
// is the events, in no order within a minute; what never reached the bus is not among them.
type Archive struct {
	client   *eventbridge.Client
	arn, bus string
}

// OpenArchive finds an archive by its name.
func OpenArchive(ctx context.Context, client *eventbridge.Client, name string) (*Archive, error) {
	out, err := client.DescribeArchive(ctx, &eventbridge.DescribeArchiveInput{ArchiveName: &name})
	if err != nil {
		return nil, fmt.Errorf("looking at archive %s: %w", name, err)
	}
	return &Archive{client, aws.ToString(out.ArchiveArn), aws.ToString(out.EventSourceArn)}, nil
}

// Rules returns the ARNs of the rules that send events to the queue with this ARN; a schedule's is none of them.
func (a *Archive) Rules(ctx context.Context, queueARN string) ([]string, error) {
	var arns []string
	for in := (&eventbridge.ListRuleNamesByTargetInput{TargetArn: &queueARN}); ; {
		page, err := a.client.ListRuleNamesByTarget(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("asking which rules send to %s: %w", queueARN, err)
		}
		for _, name := range page.RuleNames {
			rule, err := a.client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &name})
			if err != nil {
				return nil, fmt.Errorf("looking at rule %s: %w", name, err)
			}
			if aws.ToString(rule.EventPattern) != "" {
				arns = append(arns, aws.ToString(rule.Arn))
			}
		}
		if in.NextToken = page.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(arns) == 0 {
		return nil, fmt.Errorf("asking which rules send to %s: %w", queueARN, ErrNoRules)
	}
	return arns, nil
}

// Start begins a replay of a window, to these rules only.
func (a *Archive) Start(ctx context.Context, name string, w Window, rules []string) error {
	_, err := a.client.StartReplay(ctx, &eventbridge.StartReplayInput{
		ReplayName: &name, EventSourceArn: &a.arn, EventStartTime: &w.From, EventEndTime: &w.To,
		Destination: &types.ReplayDestination{Arn: &a.bus, FilterArns: rules},
	})
	if err != nil {
		return fmt.Errorf("starting replay %s: %w", name, err)
	}
	return nil
}

// Look returns how a replay stands.
func (a *Archive) Look(ctx context.Context, name string) (Replay, error) {
	out, err := a.client.DescribeReplay(ctx, &eventbridge.DescribeReplayInput{ReplayName: &name})
	if err != nil {
		return Replay{}, fmt.Errorf("looking at replay %s: %w", name, err)
	}
	return Replay{Name: name, State: string(out.State), Reason: aws.ToString(out.StateReason), At: aws.ToTime(out.EventLastReplayedTime).UTC()}, nil
}
