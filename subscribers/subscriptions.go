// Package subscribers says who wants to know: it loads a domain's manifest and matches changed secrets against its
// subscriptions. The clients, in the folders below, are what subscribed functions use; they do not import this package.
package subscribers

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// APIVersion is the version of the manifest's form.
const APIVersion = "secret-broadcaster/v1"

// Manifest is one domain's file. Fields without omitempty have to be there. The comments are what editors show.
type Manifest struct {
	// The version of the manifest's form.
	APIVersion string `yaml:"apiVersion" example:"secret-broadcaster/v1"`
	// The environment of the secrets: /bank/{env}/….
	Env string `yaml:"env" example:"prod"`
	// The domain of the secrets: /bank/{env}/{domain}/….
	Domain string `yaml:"domain" example:"payments"`
	// Whom to ask about these subscriptions: an e-mail address, a channel, a team.
	Owner string `yaml:"owner" example:"payments-oncall@bank.example"`
	// The subscribed services. A service whose client reads the change log needs no entry; an entry adds the push and its proof.
	Services []Service `yaml:"services" example:"[]"`
	// What a deleted secret does. evict: caches drop it. ttl: it is served until its TTL ends, and its deletion is not announced.
	OnDelete string `yaml:"onDelete,omitempty" example:"evict"`
}

// Service is one subscribed service.
type Service struct {
	// The name that the service reports: its POWERTOOLS_SERVICE_NAME.
	Name string `yaml:"name" json:"name" example:"payments-api"`
	// The function to push to: a name, name:alias or ARN. Without it, the functions that report the service's name.
	Function string `yaml:"function,omitempty" json:"function,omitempty" example:"payments-api:live"`
	// Patterns of secrets, relative to /bank/{env}/{domain}/. * stands for anything within a segment, ** for one or more segments.
	Secrets []string `yaml:"secrets" json:"secrets" example:"[\"neon/*\"]"`
	// push: the function is invoked at once, where that is safe. pull: it finds out from the change log only.
	Deliver string `yaml:"deliver,omitempty" json:"deliver,omitempty" example:"push"`
}

// Subscription is one service's wish to know of some secrets.
type Subscription struct {
	Service  string
	Function string // as the manifest has it; the service's name if it has none
	ByReport bool   // the manifest names no function: those that report the service's name are meant
	Push     bool
	// Pattern is the first one by which a match was found, as the manifest has it; empty if none was asked for.
	Pattern string
}

// Subscriptions are those of one domain. The zero value has none. They may be used concurrently.
type Subscriptions struct {
	all      []Subscription
	root     string // /bank/{env}/{domain}/
	named    []string
	patterns node
	texts    [][]string // of the patterns, by subscription
	// IgnoreDeletions: the domain prefers that a deleted secret is served until its TTL ends.
	IgnoreDeletions bool
}

// Load reads the manifest of the given env and domain. An empty file name gives no subscriptions: clients that read the
// log need none. Its error joins all problems of the file in their order, each a Problem, and quotes no value.
func Load(fsys fs.FS, file, env, domain string) (*Subscriptions, error) {
	if file == "" {
		return &Subscriptions{}, nil
	}
	f, err := Read(fsys, file, env, domain)
	if err != nil {
		return nil, err
	}
	return f.Subscriptions(), nil
}

// New checks a manifest that was made in code, which must be of the given env and domain, and returns its subscriptions or
// all its problems. Such a manifest needs no owner.
func New(m Manifest, env, domain string) (*Subscriptions, error) {
	var problems []error
	m.check(env, domain, func(field, text string) { problems = append(problems, fmt.Errorf("%s: %s", field, text)) })
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return compile(m), nil
}

// Domains are the subscriptions of several domains. What one has costs nothing when another is asked for.
type Domains map[Domain]*Subscriptions

// Domain names a domain's secrets in one environment: /bank/{Env}/{Name}/.
type Domain struct{ Env, Name string }

// LoadDir reads all manifests (*.yaml, *.yml) of a directory, as ReadAll does.
func LoadDir(fsys fs.FS, dir string) (Domains, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("reading subscriptions: %w", err)
	}
	var paths []string
	for _, entry := range entries {
		if IsManifest(entry.Name()) {
			paths = append(paths, path.Join(dir, entry.Name()))
		}
	}
	files, err := ReadAll(fsys, paths)
	if err != nil {
		return nil, err
	}
	all := Domains{}
	for _, f := range files {
		all[Domain{f.Env, f.Domain}] = f.Subscriptions()
	}
	return all, nil
}

// compile expects a manifest without problems.
func compile(m Manifest) *Subscriptions {
	s := &Subscriptions{root: rootOf(m.Env, m.Domain), IgnoreDeletions: m.OnDelete == "ttl"}
	for i, service := range m.Services {
		sub := Subscription{Service: service.Name, Function: service.Function, ByReport: service.Function == "", Push: service.Deliver != "pull"}
		if sub.ByReport {
			sub.Function = service.Name
		}
		s.all, s.texts = append(s.all, sub), append(s.texts, service.Secrets)
		for n, pattern := range service.Secrets {
			s.patterns.add(pattern, end{i, n})
			if !strings.Contains(pattern, "*") {
				s.named = append(s.named, s.root+pattern)
			}
		}
	}
	return s
}

// Named returns the names of the secrets that patterns without wildcards stand for. Nil names none.
func (s *Subscriptions) Named() []string {
	if s == nil {
		return nil
	}
	return s.named
}

// Match returns the subscriptions that want to know of any of the named secrets, each once, in the manifest's order. A name
// outside of the domain matches none, and neither does one that has an empty, . or .. segment. Nil matches nothing.
func (s *Subscriptions) Match(names []string) []Subscription {
	if s == nil {
		return nil
	}
	var found []end
	for _, name := range names {
		if path, ok := s.own(name); ok {
			found = s.patterns.match(path, found)
		}
	}
	slices.SortFunc(found, func(a, b end) int { return cmp.Or(a.subscription-b.subscription, a.pattern-b.pattern) })
	var matched []Subscription
	for _, e := range slices.CompactFunc(found, func(a, b end) bool { return a.subscription == b.subscription }) {
		sub := s.all[e.subscription]
		sub.Pattern = s.texts[e.subscription][e.pattern]
		matched = append(matched, sub)
	}
	return matched
}

// Of returns the subscription of a service.
func (s *Subscriptions) Of(service string) (Subscription, bool) {
	i := slices.IndexFunc(s.all, func(sub Subscription) bool { return sub.Service == service })
	if i < 0 {
		return Subscription{}, false
	}
	return s.all[i], true
}
