package subscribers

import (
	"cmp"
	"slices"
)

// A Change is what becomes of a service's entry.
type Change struct {
	Service string   `json:"service"`
	Was     *Service `json:"was,omitempty"` // nil: it is added
	Is      *Service `json:"is,omitempty"`  // nil: it is removed
}

// Changes returns what becomes of the entries of m if another manifest takes its place, by the services' names. What only
// stands elsewhere, or is written out where it was implied, is no change.
func (m Manifest) Changes(to Manifest) []Change {
	entries := map[string]*Change{}
	of := func(s Service) *Change {
		if entries[s.Name] == nil {
			entries[s.Name] = &Change{Service: s.Name}
		}
		return entries[s.Name]
	}
	for i, s := range m.Services {
		of(s).Was = &m.Services[i]
	}
	for i, s := range to.Services {
		of(s).Is = &to.Services[i]
	}
	var all []Change
	for _, c := range entries {
		if c.Was == nil || c.Is == nil || !c.Was.means(*c.Is) {
			all = append(all, *c)
		}
	}
	slices.SortFunc(all, func(a, b Change) int { return cmp.Compare(a.Service, b.Service) })
	return all
}

// means reports whether two entries of one service come to the same.
func (s Service) means(other Service) bool {
	return s.Function == other.Function && s.Pushes() == other.Pushes() &&
		slices.Equal(slices.Sorted(slices.Values(s.Secrets)), slices.Sorted(slices.Values(other.Secrets)))
}

// Pushes reports whether the entry wants a push.
func (s Service) Pushes() bool { return s.Deliver != "pull" }

// maxNamed is how many secrets a Call names: ten thousand services that want all of ten thousand would be a hundred million.
const maxNamed = 10

// A Call says whom a change of some secrets calls.
type Call struct {
	Service string `json:"service"`
	// Function is empty if those are meant that report the service's name.
	Function string `json:"function,omitempty"`
	// Secrets are the first ten; More is how many there are beside them.
	Secrets []string `json:"secrets"`
	More    int      `json:"more,omitempty"`
}

// NewCalls returns whom changes of the named secrets call if the subscriptions are those of is, and do not if they are those
// of was: by the services' names.
func NewCalls(was, is *Subscriptions, names []string) []Call {
	type callee struct{ service, function string }
	called := func(s *Subscriptions, name string) map[callee]bool {
		all := map[callee]bool{}
		for _, sub := range s.Match([]string{name}) {
			if sub.Push {
				all[callee{sub.Service, sub.named()}] = true
			}
		}
		return all
	}
	calls := map[callee]*Call{}
	for _, name := range names {
		before := called(was, name)
		for who := range called(is, name) {
			if before[who] {
				continue
			}
			c := calls[who]
			if c == nil {
				c = &Call{Service: who.service, Function: who.function}
				calls[who] = c
			}
			if len(c.Secrets) < maxNamed {
				c.Secrets = append(c.Secrets, name)
			} else {
				c.More++
			}
		}
	}
	all := make([]Call, 0, len(calls))
	for _, c := range calls {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b Call) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Function, b.Function))
	})
	return all
}

// named returns the function that the manifest names, if it names one.
func (s Subscription) named() string {
	if s.ByReport {
		return ""
	}
	return s.Function
}
