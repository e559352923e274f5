//go:build !lambdaartifact

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	awseventbridge "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/replays"
)

// replayLookEvery is the pause between two looks at a replay that EventBridge does.
const replayLookEvery = 2 * time.Second

// errNoQueue: there is nothing that a message could be put back into.
var errNoQueue = errors.New("the broadcaster has no queue: BROADCASTER_QUEUE_URL is not set")

// recorded has the broadcaster keep the record of what is about to be done, and returns who does it.
func (r *replaying) recorded(ctx context.Context, on deployment, about string) (by string, err error) {
	o := r.order
	o.Details, _ = json.Marshal(replayDetails{From: r.from, About: about}) // strings always marshal
	var answer replayAnswer
	err = on.send(ctx, o, &answer)
	return answer.By, err
}

// redrive moves the parked messages back into the queue.
func (r *replaying) redrive(ctx context.Context, on deployment) error {
	if on.queueURL == "" {
		return errNoQueue
	}
	dead, err := replays.FindDeadLetters(ctx, awssqs.NewFromConfig(on.aws), on.queueURL)
	if err != nil {
		return err
	}
	report := r.report()
	report.Redrive = &redriven{Queue: dead.Name()}
	all, received, err := dead.Count(ctx)
	if err != nil {
		return err
	}
	report.Redrive.Waiting, report.Redrive.Received = all, received
	if r.order.DryRun {
		return r.print(report)
	}
	if report.By, err = r.recorded(ctx, on, fmt.Sprintf("about %d messages of queue %s", all, dead.Name())); err != nil {
		return err
	}
	moved, problem := dead.Redrive(ctx, func(moved int) { r.show("moving", moved, max(all, moved)) })
	r.clear()
	report.Redrive.Moved = moved
	if ctx.Err() != nil {
		problem = fmt.Errorf("%w: no message is lost, the same command goes on", errInterrupted)
	}
	report.Redrive.Waiting, report.Redrive.Received, err = dead.Count(context.WithoutCancel(ctx))
	return errors.Join(r.print(report), problem, err)
}

// replayArchive has EventBridge send archived events again.
func (r *replaying) replayArchive(ctx context.Context, on deployment) error {
	if on.queueURL == "" {
		return errNoQueue
	}
	name := cmp.Or(r.archive, on.env+"-secretsmanager")
	archive, err := replays.OpenArchive(ctx, awseventbridge.NewFromConfig(on.aws), name)
	if err != nil {
		return err
	}
	queue := on.arn
	queue.Service, queue.Resource = "sqs", path.Base(on.queueURL)
	rules, err := archive.Rules(ctx, queue.String())
	if err != nil {
		return err
	}
	report := r.report()
	report.Archive = &archiveReplayed{Archive: name, From: r.sinceAt.Truncate(time.Second), To: r.untilAt, Rules: rules}
	if r.order.DryRun {
		return r.print(report)
	}
	if complete := r.untilAt.Add(r.archiveDelay); time.Now().Before(complete) {
		fmt.Fprintf(r.errs, "waiting until %s, when all events have reached the archive\n", complete.Format(time.RFC3339))
		if !rest(ctx, time.Until(complete)) {
			return fmt.Errorf("%w: nothing was started, the same command begins anew", errInterrupted)
		}
	}
	replay := fmt.Sprintf("%s-%s-%s", on.env, on.domain, time.Now().UTC().Format("20060102T150405Z"))
	window := replays.Window{From: report.Archive.From, To: report.Archive.To}
	about := fmt.Sprintf("%s, %s to %s, as replay %s", name, window.From.Format(time.RFC3339), window.To.Format(time.RFC3339), replay)
	if report.By, err = r.recorded(ctx, on, about); err != nil {
		return err
	}
	if err := archive.Start(ctx, replay, window, rules); err != nil {
		return err
	}
	report.Archive.Replay, err = r.follow(ctx, archive, replay, window)
	return errors.Join(r.print(report), err)
}

// follow looks at a replay until it is over.
func (r *replaying) follow(ctx context.Context, archive *replays.Archive, replay string, w replays.Window) (replays.Replay, error) {
	defer r.clear()
	for {
		is, err := archive.Look(context.WithoutCancel(ctx), replay)
		switch {
		case err != nil:
			return replays.Replay{Name: replay}, fmt.Errorf("it goes on: aws events describe-replay --replay-name %s: %w", replay, err)
		case is.Done():
			return is, nil
		case is.Over():
			return is, fmt.Errorf("replay %s is %s", replay, is.State)
		}
		done := max(0, is.At.Sub(w.From))
		r.show(is.State, int(done.Seconds()), int(w.To.Sub(w.From).Seconds()))
		if !rest(ctx, replayLookEvery) {
			return is, fmt.Errorf("%w: it goes on. aws events describe-replay --replay-name %s, or cancel-replay, which ends it", errInterrupted, replay)
		}
	}
}

// rest returns false if ctx ends first.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
