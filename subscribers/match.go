package subscribers

import (
	"slices"
	"strings"
)

// maxName is the longest name that Secrets Manager takes.
const maxName = 512

// rootOf is what the names of a domain's secrets begin with.
func rootOf(env, domain string) string { return "/bank/" + env + "/" + domain + "/" }

// own returns a name's path below the domain's root.
func (s *Subscriptions) own(name string) (string, bool) {
	path, ok := strings.CutPrefix(name, s.root)
	if !ok || len(name) > maxName {
		return "", false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "", false
		}
	}
	return path, strings.IndexFunc(path, func(r rune) bool { return r != '/' && !inName(r) }) < 0
}

// inName: Secrets Manager takes this character within a segment of a name.
func inName(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_+=.@-", r)
}

// A node stands for the beginning of some patterns, segment by segment; the root for the empty one. Looking a name up costs
// by the patterns that begin as the name does, not by all there are.
type node struct {
	literals map[string]*node
	globs    []glob           // segments with a * beside other characters
	byGlob   map[string]*node // the same, for add
	one      *node            // *
	many     *node            // **
	repeats  bool             // this is a many: a further segment may stay here
	ends     []end            // the patterns that end here
}

// An end is a pattern: the subscription's place in the manifest, and the pattern's in the subscription.
type end struct{ subscription, pattern int }

// A glob is what stands between a segment's asterisks.
type glob struct {
	parts []string
	to    *node
}

func (n *node) add(pattern string, e end) {
	for segment := range strings.SplitSeq(pattern, "/") {
		n = n.next(segment)
	}
	n.ends = append(n.ends, e)
}

// next returns the node that a pattern's segment leads to, a new one if need be.
func (n *node) next(segment string) *node {
	switch {
	case segment == "*":
		if n.one == nil {
			n.one = &node{}
		}
		return n.one
	case segment == "**":
		if n.many == nil {
			n.many = &node{repeats: true}
		}
		return n.many
	case strings.Contains(segment, "*"):
		to := n.byGlob[segment]
		if to == nil {
			to = &node{}
			if n.byGlob == nil {
				n.byGlob = map[string]*node{}
			}
			n.byGlob[segment] = to
			n.globs = append(n.globs, glob{strings.Split(segment, "*"), to})
		}
		return to
	}
	to := n.literals[segment]
	if to == nil {
		to = &node{}
		if n.literals == nil {
			n.literals = map[string]*node{}
		}
		n.literals[segment] = to
	}
	return to
}

// match appends the patterns that match the path.
func (n *node) match(path string, found []end) []end {
	// All patterns are followed at once: active are the nodes that the segments so far lead to, none twice.
	active, next := append(make([]*node, 0, 8), n), make([]*node, 0, 8)
	for more := true; more && len(active) > 0; {
		var segment string
		segment, path, more = strings.Cut(path, "/")
		next = next[:0]
		for _, at := range active {
			next = at.follow(segment, active, next)
		}
		active, next = next, active
	}
	for _, at := range active {
		found = append(found, at.ends...)
	}
	return found
}

// follow appends the nodes that a segment of a name leads to.
func (n *node) follow(segment string, active, next []*node) []*node {
	if n.repeats {
		next = append(next, n)
	}
	if to := n.literals[segment]; to != nil {
		next = append(next, to)
	}
	for _, g := range n.globs {
		if g.matches(segment) {
			next = append(next, g.to)
		}
	}
	if n.one != nil {
		next = append(next, n.one)
	}
	if n.many != nil && !slices.Contains(active, n.many) { // an active one stays by itself
		next = append(next, n.many)
	}
	return next
}

func (g glob) matches(segment string) bool {
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	if len(segment) < len(first)+len(last) || !strings.HasPrefix(segment, first) || !strings.HasSuffix(segment, last) {
		return false
	}
	rest := segment[len(first) : len(segment)-len(last)]
	for _, part := range g.parts[1 : len(g.parts)-1] {
		at := strings.Index(rest, part)
		if at < 0 {
			return false
		}
		rest = rest[at+len(part):]
	}
	return true
}
