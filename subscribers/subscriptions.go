// Package subscribers says who wants to know: it loads a domain's manifest and matches changed secrets against its
// subscriptions. The clients, in the folders below, are what subscribed functions use; they do not import this package.
package subscribers

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/goccy/go-yaml"
)

// APIVersion is the version of the manifest's form.
const APIVersion = "secret-broadcaster/v1"

// Manifest is one domain's file.
type Manifest struct {
	APIVersion string    `yaml:"apiVersion"`
	Env        string    `yaml:"env"`
	Domain     string    `yaml:"domain"`
	Owner      string    `yaml:"owner"`
	Services   []Service `yaml:"services"`
	OnDelete   string    `yaml:"onDelete"` // evict (default) or ttl
}

// Service is one subscribed service.
type Service struct {
	Name     string   `yaml:"name"`
	Function string   `yaml:"function"` // name, name:alias or ARN; default: the service's name
	Secrets  []string `yaml:"secrets"`  // relative to /bank/{env}/{domain}/; * within one segment, ** across
	Deliver  string   `yaml:"deliver"`  // push (default) or pull
}

// Subscription is one service's wish to know of some secrets.
type Subscription struct {
	Service  string
	Function string
	Push     bool
	patterns []string // full, below /bank/{env}/{domain}/
}

// Subscriptions are those of one domain. The zero value has none.
type Subscriptions struct {
	all []Subscription
	// IgnoreDeletions: the domain prefers that a deleted secret is served until its TTL ends.
	IgnoreDeletions bool
}

// Load reads a domain's manifest. An empty file name gives no subscriptions: clients that read the log need none.
func Load(fsys fs.FS, file, env, domain string) (*Subscriptions, error) {
	if file == "" {
		return &Subscriptions{}, nil
	}
	text, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, fmt.Errorf("reading subscriptions: %w", err)
	}
	var m Manifest
	if err := yaml.UnmarshalWithOptions(text, &m, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("reading subscriptions %s: %w", file, err)
	}
	s, err := New(m, env, domain)
	if err != nil {
		return nil, fmt.Errorf("reading subscriptions %s: %w", file, err)
	}
	return s, nil
}

// New checks a manifest, which must be of the given env and domain, and returns its subscriptions or all its problems.
func New(m Manifest, env, domain string) (*Subscriptions, error) {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if m.APIVersion != APIVersion {
		problem("apiVersion must be %s, not %q", APIVersion, m.APIVersion)
	}
	if m.Env != env || m.Domain != domain {
		problem("the manifest is of %s/%s, this broadcaster serves %s/%s", m.Env, m.Domain, env, domain)
	}
	if m.OnDelete != "" && m.OnDelete != "evict" && m.OnDelete != "ttl" {
		problem("onDelete must be evict or ttl, not %q", m.OnDelete)
	}
	s := &Subscriptions{IgnoreDeletions: m.OnDelete == "ttl"}
	seen := map[string]bool{}
	for i, service := range m.Services {
		at := fmt.Sprintf("services[%d]", i)
		if service.Name == "" || seen[service.Name] {
			problem("%s.name must be set and stand once", at)
		}
		seen[service.Name] = true
		if service.Deliver != "" && service.Deliver != "push" && service.Deliver != "pull" {
			problem("%s.deliver must be push or pull, not %q", at, service.Deliver)
		}
		sub := Subscription{Service: service.Name, Function: service.Function, Push: service.Deliver != "pull"}
		if sub.Function == "" {
			sub.Function = service.Name
		}
		for j, pattern := range service.Secrets {
			if err := checkPattern(pattern); err != nil {
				problem("%s.secrets[%d]: %w", at, j, err)
				continue
			}
			sub.patterns = append(sub.patterns, "/bank/"+env+"/"+domain+"/"+pattern)
		}
		if len(service.Secrets) == 0 {
			problem("%s.secrets must name at least one secret", at)
		}
		s.all = append(s.all, sub)
	}
	return s, errors.Join(problems...)
}

func checkPattern(pattern string) error {
	switch {
	case pattern == "", strings.HasPrefix(pattern, "/"), strings.Contains(pattern, "//"):
		return fmt.Errorf("%q must be relative to the domain, without empty segments", pattern)
	case strings.ContainsAny(pattern, "[]?\\"):
		return fmt.Errorf("%q: the wildcards are * within a segment and ** across", pattern)
	}
	for _, segment := range strings.Split(pattern, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("%q leaves its domain", pattern)
		}
	}
	return nil
}

// Match returns the subscriptions that want to know of any of the named secrets.
func (s *Subscriptions) Match(names []string) []Subscription {
	var matched []Subscription
	for _, sub := range s.all {
		if sub.wantsAny(names) {
			matched = append(matched, sub)
		}
	}
	return matched
}

func (s Subscription) wantsAny(names []string) bool {
	for _, name := range names {
		for _, pattern := range s.patterns {
			if matches(strings.Split(pattern, "/"), strings.Split(name, "/")) {
				return true
			}
		}
	}
	return false
}

// matches compares segment by segment; ** stands for one or more segments.
func matches(pattern, name []string) bool {
	switch {
	case len(pattern) == 0:
		return len(name) == 0
	case len(name) == 0:
		return false
	case pattern[0] == "**":
		return matches(pattern[1:], name[1:]) || matches(pattern, name[1:])
	}
	ok, err := path.Match(pattern[0], name[0])
	return err == nil && ok && matches(pattern[1:], name[1:])
}
