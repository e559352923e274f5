package events

import "strings"

// An author is who wrote what identifies a secret, and so how much of it is certain.
type author int

const (
	isName   author = iota // a name, whoever wrote it: a name is whole
	byAWS                  // if an ARN, then a full one, with the suffix that AWS gave it
	byCaller               // if an ARN, then perhaps one without suffix
)

// A ref is one place of an event that identifies the secret, or is empty.
type ref struct {
	path, text string
	author     author
}

const (
	longestName = 512
	// suffix is the length of what AWS puts behind the name in an ARN: a hyphen and six letters or digits.
	suffix = 7
)

// identify returns a Signal that says which secret all of an event's refs name. Those that disagree are malformed, and so
// is an event without any.
func identify(refs ...ref) (Signal, error) {
	var (
		s     Signal
		at    string // where the name stood
		typed ref
	)
	for _, r := range refs {
		name := r.text
		switch {
		case r.text == "":
			continue
		case r.author == isName || !strings.HasPrefix(r.text, "arn:"):
		case r.author == byCaller:
			typed = r
			continue
		default:
			a, err := parseARN(r)
			if err != nil {
				return Signal{}, err
			}
			if name = withoutSuffix(a.resource); name == "" {
				return Signal{}, malformedAt{r.path, "must be a full ARN, with the suffix of the secret's name"}
			}
			if s.ARN != "" && s.ARN != r.text {
				return Signal{}, otherSecret(r)
			}
			s.ARN, s.Account, s.Region = r.text, a.account, a.region
		}
		if s.Name != "" && s.Name != name {
			return Signal{}, otherSecret(r)
		}
		if s.Name == "" {
			s.Name, at = name, r.path
		}
	}
	switch {
	case typed.text != "":
		return s.completedBy(typed, at)
	case s.Name == "":
		return Signal{}, malformedAt{refs[0].path, "must identify the secret"}
	}
	return s.inScheme(at)
}

// completedBy returns s with an ARN that a caller typed. Whether its end is a suffix is certain only if s has the name, which
// stood at the given path, from elsewhere.
func (s Signal) completedBy(typed ref, at string) (Signal, error) {
	a, err := parseARN(typed)
	if err != nil {
		return Signal{}, err
	}
	if s.Name == "" {
		return s.unnamed(typed, a)
	}
	bare, full := a.resource == s.Name, withoutSuffix(a.resource) == s.Name
	if !bare && !full || s.ARN != "" && typed.text != s.ARN && typed.text != s.ARN[:len(s.ARN)-suffix] {
		return Signal{}, otherSecret(typed)
	}
	if s.ARN == "" {
		s.Account, s.Region = a.account, a.region
		if full {
			s.ARN = typed.text
		}
	}
	return s.inScheme(at)
}

// unnamed returns a Signal with what is certain of an ARN whose end may be a suffix or the name's own.
func (s Signal) unnamed(typed ref, a arn) (Signal, error) {
	s.Name = a.resource
	if name := withoutSuffix(a.resource); len(a.resource) > longestName && name != "" {
		s.Name = name
	}
	s, err := s.inScheme(typed.path)
	if err != nil {
		return Signal{}, err
	}
	s.Name, s.Key = "", ""
	s.ARN, s.Account, s.Region = typed.text, a.account, a.region
	return s, nil
}

func otherSecret(r ref) error {
	return malformedAt{r.path, "must be the same secret as in the rest of the event"}
}

// inScheme returns s with the parts of its name, which stood at the given path. A name outside the scheme is ignored: it is
// not one of ours.
func (s Signal) inScheme(path string) (Signal, error) {
	rest, ok := strings.CutPrefix(s.Name, "/bank/")
	for _, part := range [...]*string{&s.Env, &s.Domain, &s.Service} {
		*part, rest, _ = strings.Cut(rest, "/")
		ok = ok && *part != ""
	}
	if s.Key = rest; !ok || s.Key == "" {
		return Signal{}, errOutside
	}
	if !nameable(s.Name) {
		return Signal{}, malformedAt{path, "must have only characters that a secret's name may have, at most 512"}
	}
	return s, nil
}

var errOutside = ignored{"the secret's name is outside /bank/{env}/{domain}/{service}/{name}"}

// An arn is the parts of a secret's ARN that tell which secret it is.
type arn struct{ region, account, resource string }

// parseARN takes arn:{partition}:secretsmanager:{region}:{account}:secret:{resource} apart.
func parseARN(r ref) (arn, error) {
	parts := strings.SplitN(r.text, ":", 7)
	if len(parts) != 7 || !only(parts[1], isLower) || parts[2] != "secretsmanager" || !only(parts[3], isLower) ||
		len(parts[4]) != 12 || !only(parts[4], isDigit) || parts[5] != "secret" || len(r.text) > 2048 {
		return arn{}, malformedAt{r.path, "must be the ARN of a secret"}
	}
	return arn{region: parts[3], account: parts[4], resource: parts[6]}, nil
}

// withoutSuffix returns the name in the resource of a full ARN, or nothing if it has no suffix.
func withoutSuffix(resource string) string {
	at := len(resource) - suffix
	if at < 1 || resource[at] != '-' || !only(resource[at+1:], isAlphanumeric) {
		return ""
	}
	return resource[:at]
}

// nameable reports whether AWS allows a secret of this name
// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html).
func nameable(name string) bool {
	return len(name) <= longestName && only(name, func(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("/_+=.@-", c) >= 0 })
}

// only reports whether all of a text, which must not be empty, is of the given characters.
func only(text string, is func(byte) bool) bool {
	for i := range len(text) {
		if !is(text[i]) {
			return false
		}
	}
	return text != ""
}

func isDigit(c byte) bool        { return '0' <= c && c <= '9' }
func isLower(c byte) bool        { return 'a' <= c && c <= 'z' || isDigit(c) || c == '-' }
func isAlphanumeric(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
