package wire

import "strings"

// The reasons and problems that clients give. An ack may quote anything, so whoever keeps or logs one knows these texts and
// no others: see Ack.Plain. A client may use a new one only after it stands here.
const (
	ReasonRefused    = "an OnChange function refused the new version"
	ReasonNotFetched = "the new version could not be fetched"
	ReasonTooLate    = "the new version was not fetched in time"
	ReasonDeleted    = "the secret is deleted"
	ReasonNotFound   = "the secret or its current value was not found"

	ProblemLog = "the change log could not be read"
	ProblemOff = "the client is off"

	// inOwnWords stands for every other text.
	inOwnWords = "for a reason in words of its own, which are left out"
)

func plainText(text string) string {
	switch text {
	case "", ReasonRefused, ReasonNotFetched, ReasonTooLate, ReasonDeleted, ReasonNotFound, ProblemLog, ProblemOff:
		return text
	}
	return inOwnWords
}

// longestPlain is longer than any name, ARN or log stream.
const longestPlain = 512

// plainName returns text that names something, or "" for anything else.
func plainName(text string) string {
	for _, r := range text {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:$[]@+= ", r)) {
			return ""
		}
	}
	if len(text) > longestPlain {
		return ""
	}
	return text
}

// Plain returns the ack with what may be kept of it: the texts that clients are known to give, names of the row's own
// secrets, and of everything else what has the form of a name.
func (a Ack) Plain(row Row) Ack {
	a.Client, a.Service, a.Function = plainName(a.Client), plainName(a.Service), plainName(a.Function)
	a.Environment, a.LogStream, a.Hash = plainName(a.Environment), plainName(a.LogStream), plainName(a.Hash)
	a.Problem = plainText(a.Problem)
	told := map[string]bool{}
	for _, c := range row.Changes {
		told[c.Name] = true
	}
	var secrets []SecretOutcome
	for _, s := range a.Secrets {
		if !told[s.Name] {
			continue
		}
		told[s.Name] = false // once each
		s.VersionID, s.Reason = plainName(s.VersionID), plainText(s.Reason)
		switch s.Outcome {
		case Applied, NotCached, Failed, Observed:
		default:
			s.Outcome, s.Reason = Failed, inOwnWords
		}
		secrets = append(secrets, s)
	}
	a.Secrets = secrets
	return a
}
