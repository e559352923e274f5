package history

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// A Secret is how a secret stands, and who has applied its newest change.
type Secret struct {
	Name  string             `json:"name"`
	ARN   string             `json:"arn"`
	State invalidation.State `json:"state"`
	// Version is what AWSCURRENT names, and Previous what AWSPREVIOUS does.
	Version  string `json:"version,omitempty"`
	Previous string `json:"previous,omitempty"`
	// Changed is when Secrets Manager dates the newest change.
	Changed time.Time `json:"changed,omitzero"`
	// Revision is 0 if no change of it was ever appended; then what follows is empty, but for who holds it.
	Revision int64                `json:"revision"`
	Kind     wire.Kind            `json:"kind,omitempty"`
	Appended time.Time            `json:"appended,omitzero"`
	Causes   []invalidation.Cause `json:"causes,omitempty"`
	// Open: its fan-out is under way.
	Open     bool      `json:"open"`
	Services []Service `json:"services"`
}

// A Service is how far one service is with a secret's newest change.
type Service struct {
	Service string `json:"service"`
	// Subscribed: the change was for it to be delivered. Another service is here because it reports that it holds the secret.
	Subscribed bool `json:"subscribed"`
	// Outcome is the worst of its functions' deliveries, and Reason that one's; empty if none is recorded.
	Outcome invalidation.Outcome `json:"outcome,omitempty"`
	Reason  invalidation.Reason  `json:"reason,omitempty"`
	// FirstAck and LastAck are of the change's deliveries.
	FirstAck time.Time `json:"firstAck,omitzero"`
	LastAck  time.Time `json:"lastAck,omitzero"`
	// LastFailure is the newest of what went wrong with the change and was not mended since.
	LastFailure *Failure `json:"lastFailure,omitempty"`
	// Current, Behind and Silent count its environments, of a service that is not subscribed those that hold the secret, and
	// Failing those of them that cannot use it.
	Current int `json:"current"`
	Behind  int `json:"behind"`
	Silent  int `json:"silent"`
	Failing int `json:"failing"`
	// SilentSince is when the silent ones were heard of last.
	SilentSince time.Time `json:"silentSince,omitzero"`
}

// A Failure is what went wrong, and where its log lines are.
type Failure struct {
	Time        time.Time `json:"time"`
	Reason      string    `json:"reason"`
	Function    string    `json:"function,omitempty"`
	Environment string    `json:"environment,omitempty"`
	LogStream   string    `json:"logStream,omitempty"`
}

// Secret returns how a secret stands, or ErrUnknown.
func (r *Reader) Secret(ctx context.Context, name string) (Secret, error) {
	snapshot, err := r.cfg.Store.Load(ctx, []string{name})
	if err != nil {
		return Secret{}, err
	}
	row, known := snapshot.Secrets[name]
	if !known {
		return Secret{}, fmt.Errorf("the secret %s is %w", name, ErrUnknown)
	}
	s := Secret{
		Name: name, ARN: row.ARN, State: row.State, Version: row.Current, Previous: row.Previous, Changed: row.Changed, Revision: row.Revision,
	}
	services := map[string]*Service{}
	if s.Revision > 0 {
		if err := r.addChange(ctx, &s, services); err != nil {
			return Secret{}, err
		}
	}
	reports, err := r.cfg.Reports.All(ctx)
	if err != nil {
		return Secret{}, err
	}
	for _, report := range reports {
		if of := services[report.Service]; of != nil && of.Subscribed || holds(report, name) {
			serviceIn(services, report.Service).addEnvironment(environmentOf(report, name, s.Revision, s.Appended, snapshot.Head.Revision))
		}
	}
	s.Services = make([]Service, 0, len(services))
	for _, service := range slices.Sorted(maps.Keys(services)) {
		s.Services = append(s.Services, *services[service])
	}
	return s, nil
}

// addChange adds what the log and the deliveries say of a secret's newest change. The log may lack the row: it was restored
// to before it, and the next tick appends again.
func (r *Reader) addChange(ctx context.Context, s *Secret, services map[string]*Service) error {
	row, found, err := rowAt(ctx, r.cfg.Store, s.Revision)
	if err != nil || !found {
		return err
	}
	change, _ := row.change(s.Name)
	s.Kind, s.Appended, s.Causes = change.Kind, row.Time, row.Causes
	open, err := r.cfg.Store.Open(ctx)
	if err != nil {
		return err
	}
	s.Open = slices.ContainsFunc(open, func(f invalidation.Fanout) bool { return f.Revision == s.Revision && f.Hash == row.Hash })
	for d, err := range r.cfg.Store.Outcomes(ctx, s.Revision, "") {
		if err != nil {
			return err
		}
		if d.Hash == row.Hash {
			serviceIn(services, d.Subscription).addDelivery(d)
		}
	}
	return nil
}

func serviceIn(services map[string]*Service, name string) *Service {
	if services[name] == nil {
		services[name] = &Service{Service: name}
	}
	return services[name]
}

// worse orders outcomes: a service is as well as the worst off of its functions.
func worse(o invalidation.Outcome) int {
	return slices.Index([]invalidation.Outcome{"", invalidation.Acknowledged, invalidation.Skipped, invalidation.Pending, invalidation.Undelivered}, o)
}

func (s *Service) addDelivery(d invalidation.Delivery) {
	s.Subscribed = true
	if worse(d.Outcome) > worse(s.Outcome) {
		s.Outcome, s.Reason = d.Outcome, d.Reason
	}
	switch d.Outcome {
	case invalidation.Acknowledged:
		if s.FirstAck.IsZero() || d.Time.Before(s.FirstAck) {
			s.FirstAck = d.Time
		}
		if d.Time.After(s.LastAck) {
			s.LastAck = d.Time
		}
	case invalidation.Undelivered, invalidation.Pending:
		f := Failure{Time: d.Time, Function: d.Function, Reason: whyOf(d)}
		if d.Reason == invalidation.NoFunction {
			f.Function = "" // nor does it have log lines
		}
		if d.Ack != nil {
			f.Environment, f.LogStream = d.Ack.Environment, d.Ack.LogStream
		}
		if d.Reason != invalidation.Paused {
			s.fail(f)
		}
	case invalidation.Skipped:
	}
}

// whyOf says why a delivery failed or is pending.
func whyOf(d invalidation.Delivery) string {
	if d.Reason == invalidation.NoFunction {
		return string(d.Reason) + ": there is no such function; correct the manifest"
	}
	return cmp.Or(d.Error, string(d.Reason))
}

func (s *Service) addEnvironment(e Environment) {
	switch e.Standing {
	case Current:
		s.Current++
	case Behind:
		s.Behind++
	case Silent:
		s.Silent++
		if e.Reported.After(s.SilentSince) {
			s.SilentSince = e.Reported
		}
	}
	if e.Failing != "" {
		s.Failing++
		s.fail(Failure{Time: e.Reported, Reason: e.Failing, Function: e.Function, Environment: e.Environment, LogStream: e.LogStream})
	}
}

func (s *Service) fail(f Failure) {
	if s.LastFailure == nil || f.Time.After(s.LastFailure.Time) {
		s.LastFailure = &f
	}
}
