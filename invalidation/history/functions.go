package history

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// Tags tells the tags of functions.
type Tags interface {
	// Tags returns the tags of a function, which may be named with an alias or a version. Without the function or the alias, the
	// error is invalidation.ErrNoFunction; without permission, invalidation.ErrNotPermitted.
	Tags(ctx context.Context, function string) (map[string]string, error)
}

// WrongFunctions says why nothing would be pushed to functions that a manifest names: each a problem of the manifest, at its
// place. Its error says that this cannot be told.
func WrongFunctions(ctx context.Context, f *subscribers.File, functions Tags) ([]subscribers.Problem, error) {
	tags, errs := tagsOfAll(ctx, f.Services, functions)
	var (
		wrong    []subscribers.Problem
		problems []error
	)
	for i, s := range f.Services {
		text := ""
		switch err := errs[i]; {
		case s.Function == "":
		case errors.Is(err, invalidation.ErrNoFunction):
			text = "there is no such function, or no such alias of it, in this account and Region"
		case errors.Is(err, invalidation.ErrNotPermitted):
			text = fmt.Sprintf("these credentials may not look at it: it is not there, lacks the tags %s=%s, %s=%s, or lambda:GetAlias and lambda:ListTags are not allowed",
				invalidation.EnvTag, f.Env, invalidation.DomainTag, f.Domain)
		case err != nil:
			problems = append(problems, err)
		case s.Pushes():
			text = untagged(tags[i], f.Env, f.Domain)
		}
		if text != "" {
			wrong = append(wrong, f.Problem(fmt.Sprintf("services[%d].function", i), text))
		}
	}
	return wrong, errors.Join(problems...)
}

// untagged says which tags a function lacks.
func untagged(tags map[string]string, env, domain string) string {
	var lacks []string
	for _, tag := range [][2]string{{invalidation.PushTag, "true"}, {invalidation.EnvTag, env}, {invalidation.DomainTag, domain}} {
		if tags[tag[0]] != tag[1] {
			lacks = append(lacks, tag[0]+"="+tag[1])
		}
	}
	if len(lacks) == 0 {
		return ""
	}
	return "nothing is pushed to it without the tags " + strings.Join(lacks, ", ") + ": set them with the wrapped handler, or write deliver: pull"
}

// tagsOfAll returns the tags of the functions that services name, if they name one.
func tagsOfAll(ctx context.Context, services []subscribers.Service, functions Tags) ([]map[string]string, []error) {
	var (
		tags  = make([]map[string]string, len(services))
		errs  = make([]error, len(services))
		slots = make(chan struct{}, maxLooks)
		wg    sync.WaitGroup
	)
	for i, s := range services {
		if s.Function == "" {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			var err error
			if tags[i], err = functions.Tags(ctx, s.Function); err != nil {
				errs[i] = fmt.Errorf("looking at function %s: %w", s.Function, err)
			}
		})
	}
	wg.Wait()
	return tags, errs
}
