package subscribers

import (
	"fmt"
	"strings"
	"unicode"
)

// The forms of a manifest's strings, as the JSON Schema has them. forms.go reads them without compiling an expression: that
// is a twentieth of the time in which the function starts.
const (
	placeForm   = `^[a-z0-9]+(-[a-z0-9]+)*$`
	serviceForm = `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`
	// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html has a fourth form, ACCOUNT:function:NAME; an ARN says more.
	functionForm = `^(arn:aws[a-zA-Z-]*:lambda:[a-z]{2,}(-[a-z]+)+-[0-9]+:[0-9]{12}:function:)?[a-zA-Z0-9_-]{1,64}` +
		`(:(\$LATEST|[a-zA-Z0-9_-]{1,128}))?$`
	maxOwner = 256
)

// check tells every problem with a manifest of the given env and domain, each with the field's path. It quotes nothing of
// it: somebody may have put a secret's value in the wrong place.
func (m Manifest) check(env, domain string, tell func(field, text string)) {
	if m.APIVersion != APIVersion {
		tell("apiVersion", "must be "+APIVersion)
	}
	m.checkPlace("env", m.Env, env, tell)
	m.checkPlace("domain", m.Domain, domain, tell)
	unprintable := strings.ContainsFunc(m.Owner, func(r rune) bool { return !unicode.IsPrint(r) })
	if len(m.Owner) > maxOwner || unprintable || m.Owner != strings.TrimSpace(m.Owner) {
		tell("owner", fmt.Sprintf("must be one line of at most %d bytes that says whom to ask, as payments-oncall@bank.example", maxOwner))
	}
	if m.OnDelete != "" && m.OnDelete != "evict" && m.OnDelete != "ttl" {
		tell("onDelete", "must be evict or ttl")
	}
	root := rootOf(env, domain)
	if !IsPlace(env) || !IsPlace(domain) {
		root = rootOf("{env}", "{domain}")
	}
	first := map[string]int{}
	for i, s := range m.Services {
		at := fmt.Sprintf("services[%d]", i)
		before, again := first[s.Name]
		switch {
		case !isService(s.Name):
			tell(at+".name", "must be the service's name as it reports it: letters, digits, . _ and -, at most 128")
		case again:
			tell(at+".name", fmt.Sprintf("is services[%d]'s name too: put both entries' secrets into one", before))
		default:
			first[s.Name] = i
		}
		if s.Function != "" && !isFunction(s.Function) {
			tell(at+".function", wrongFunction(s.Function))
		}
		if s.Deliver != "" && s.Deliver != "push" && s.Deliver != "pull" {
			tell(at+".deliver", "must be push or pull")
		}
		s.checkSecrets(at+".secrets", root, tell)
	}
}

func (m Manifest) checkPlace(field, is, want string, tell func(field, text string)) {
	switch {
	case !IsPlace(is):
		tell(field, "must be lower-case letters, digits and single hyphens")
	case is != want && IsPlace(want):
		tell(field, "must be "+want+": this broadcaster serves no other")
	case is != want:
		tell(field, "is not the broadcaster's")
	}
}

func wrongFunction(function string) string {
	if strings.HasPrefix(function, "arn:") {
		return "is not a function's ARN: arn:aws:lambda:REGION:ACCOUNT:function:NAME, with :ALIAS or not"
	}
	return "must be a function's name, name:alias or ARN"
}

func (s Service) checkSecrets(at, root string, tell func(field, text string)) {
	if len(s.Secrets) == 0 {
		tell(at, `must name at least one secret, as ["neon/*"]`)
	}
	first := map[string]int{}
	for i, pattern := range s.Secrets {
		before, again := first[pattern]
		text := wrongPattern(pattern, root)
		switch {
		case text == "" && again:
			text = fmt.Sprintf("is the same as secrets[%d]: leave one of them", before)
		case text == "":
			first[pattern] = i
			continue
		}
		tell(fmt.Sprintf("%s[%d]", at, i), text)
	}
}

// wrongPattern says what is wrong with a pattern below root; nothing if it is right.
func wrongPattern(pattern, root string) string {
	if pattern == "" {
		return "is empty: write a pattern of secrets below " + root + ", as neon/*"
	}
	if strings.HasPrefix("/"+strings.TrimPrefix(pattern, "/"), root) {
		return "is relative to " + root + ": leave that out"
	}
	if strings.HasPrefix(pattern, "/") {
		return "begins with /: it is relative to " + root + ", and no other secrets can be subscribed to"
	}
	if len(root)+len(pattern) > maxName {
		return fmt.Sprintf("is too long: with %s it may have %d characters, as a secret's name", root, maxName)
	}
	segments := strings.Split(pattern, "/")
	for _, segment := range segments {
		if text := wrongSegment(segment); text != "" {
			return text
		}
	}
	if len(segments) == 1 && pattern != "**" {
		return "matches no secret: names have a service and a key below " + root + ", so write neon/* or neon/password"
	}
	return ""
}

func wrongSegment(segment string) string {
	switch {
	case segment == "":
		return "has an empty segment: write single slashes, and none at the end"
	case segment == "." || segment == "..":
		return "has a segment . or ..: a pattern cannot leave its domain"
	case strings.ContainsAny(segment, `?[]{}\`):
		return "has a wildcard that there is not: * stands for anything within a segment, ** for one or more segments"
	case strings.ContainsFunc(segment, func(r rune) bool { return r != '*' && !inName(r) }):
		return "has a character that no secret's name has: letters, digits and _+=.@- are allowed"
	case segment != "**" && strings.Contains(segment, "**"):
		return "has ** beside something else: ** is a segment of its own, and a single * stands for a part of one"
	}
	return ""
}
