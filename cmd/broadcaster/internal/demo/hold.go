package demo

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
)

const (
	// heldTrafficEvery is the pause between two invocations of a function once nobody judges them.
	heldTrafficEvery = time.Second
	// heldTickEvery is the schedule's.
	heldTickEvery = 10 * time.Second

	onCallKey    = "demo-on-call"
	onCallSecret = "placeholder"
	onCallARN    = "arn:aws:sts::" + account + ":assumed-role/demo-on-call/you"
)

// A Local is a domain that runs on this machine, and what its commands need to reach it.
type Local struct {
	Env    string `json:"env"`
	Domain string `json:"domain"`
	// Secrets are the full names of those that its functions use.
	Secrets []string `json:"secrets"`
	// Logs are the files with the broadcaster's log lines, a shell's pattern: each of its environments has one.
	Logs string `json:"logs"`
	// Environment are variables for the command line, and for AWS's.
	Environment map[string]string `json:"environment"`
}

// Variables are those of the environment, NAME=value, in order.
func (l Local) Variables() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(l.Environment)) {
		all = append(all, name+"="+l.Environment[name])
	}
	return all
}

func (w *world) local() Local {
	return Local{
		Env: env, Domain: payments, Secrets: []string{ConnectionString, APIKey},
		Logs: filepath.Join(w.dir, "logs", broadcasterOf(payments)+"-*.log"),
		Environment: map[string]string{
			"AWS_REGION": region, "AWS_DEFAULT_REGION": region, // which version 1 of AWS's command line wants
			"AWS_ACCESS_KEY_ID": onCallKey, "AWS_SECRET_ACCESS_KEY": onCallSecret,
			"AWS_ENDPOINT_URL": w.forBroadcasters, "AWS_ENDPOINT_URL_LAMBDA": w.host.Endpoint(),
		},
	}
}

// hold lets the world go on as a deployed domain does: every event arrives, the schedule ticks, pushes are not tampered with,
// and nothing is noted any more.
func (w *world) hold() {
	w.held.Store(true)
	ctx, stop := context.WithCancel(context.Background())
	before := w.stop
	w.stop = func() { stop(); before() }
	w.running.Go(func() {
		for pause(ctx, time.Now().Add(heldTickEvery)) == nil {
			for _, domain := range []string{payments, kyc} {
				_ = w.tick(ctx, domain) // a command shows what is wrong, and the log does
			}
		}
	})
}

func (w *world) trafficEvery() time.Duration {
	if w.held.Load() {
		return heldTrafficEvery
	}
	return trafficEvery
}

// sendHeld is what EventBridge does with an event of domain payments; the other domain has no queue here, its schedule finds
// the change.
func (w *world) sendHeld(moved secrets.LabelUpdated) {
	if moved.Name == kycToken {
		return
	}
	w.queue.Send(string(w.event("Secret Label Updated", "aws.secretsmanager", moved.ARN,
		map[string]string{"name": moved.Name, "labelUpdated": moved.Label, "versionId": moved.VersionID})))
}
