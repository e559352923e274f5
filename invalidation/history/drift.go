package history

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// Drift is where a manifest and what environments report differ.
type Drift struct {
	Unsubscribed []Holder `json:"unsubscribed"` // by service
	Unused       []Unused `json:"unused"`       // by service
}

// A Holder is a service that holds secrets of the domain which its subscription, if it has one, does not ask for.
type Holder struct {
	Service  string    `json:"service"`
	Secrets  []string  `json:"secrets"`
	LastSeen time.Time `json:"lastSeen"` // the newest report of one of them
}

// An Unused is a subscription that nobody uses.
type Unused struct {
	Service string    `json:"service"`
	Why     UnusedWhy `json:"why"`
}

// UnusedWhy says in a word why a subscription is not used.
type UnusedWhy string

// The reasons of an Unused.
const (
	NoFunction UnusedWhy = "no-function" // nothing reports, and the function that the manifest names does not exist
	NoReport   UnusedWhy = "no-report"   // no environment reports the service's name
	NotHeld    UnusedWhy = "not-held"    // environments report, and none holds a secret that is subscribed to
)

// DriftOf compares a manifest with reports. It looks at the functions of subscriptions that nothing reports.
func DriftOf(ctx context.Context, f *subscribers.File, reports []wire.Report, functions Tags) (Drift, error) {
	subscribed := f.Subscriptions()
	holders, reporting, using := map[string]*Holder{}, map[string]bool{}, map[string]bool{}
	prefix := wire.NamePrefix(f.Env, f.Domain)
	for _, report := range reports {
		reporting[report.Service] = true
		for _, secret := range report.Secrets {
			asks := func(s subscribers.Subscription) bool { return s.Service == report.Service }
			switch {
			case slices.ContainsFunc(subscribed.Match([]string{secret.Name}), asks):
				using[report.Service] = true
			case strings.HasPrefix(secret.Name, prefix):
				if holders[report.Service] == nil {
					holders[report.Service] = &Holder{Service: report.Service}
				}
				holders[report.Service].add(secret.Name, report.Time)
			}
		}
	}
	d := Drift{Unsubscribed: []Holder{}, Unused: []Unused{}}
	for _, service := range slices.Sorted(maps.Keys(holders)) {
		d.Unsubscribed = append(d.Unsubscribed, *holders[service])
	}
	var silent []subscribers.Service
	for _, s := range f.Services {
		switch {
		case using[s.Name]:
		case reporting[s.Name]:
			d.Unused = append(d.Unused, Unused{s.Name, NotHeld})
		default:
			silent = append(silent, s)
		}
	}
	unused, err := whySilent(ctx, silent, functions)
	d.Unused = append(d.Unused, unused...)
	slices.SortFunc(d.Unused, func(a, b Unused) int { return strings.Compare(a.Service, b.Service) })
	return d, err
}

func (r *Holder) add(secret string, seen time.Time) {
	if at, known := slices.BinarySearch(r.Secrets, secret); !known {
		r.Secrets = slices.Insert(r.Secrets, at, secret)
	}
	if seen.After(r.LastSeen) {
		r.LastSeen = seen
	}
}

func whySilent(ctx context.Context, silent []subscribers.Service, functions Tags) ([]Unused, error) {
	_, errs := tagsOfAll(ctx, silent, functions)
	var (
		all      []Unused
		problems []error
	)
	for i, s := range silent {
		why := NoReport
		switch err := errs[i]; {
		case errors.Is(err, invalidation.ErrNoFunction):
			why = NoFunction
		case err != nil && !errors.Is(err, invalidation.ErrNotPermitted):
			problems = append(problems, err)
		}
		all = append(all, Unused{s.Name, why})
	}
	return all, errors.Join(problems...)
}
