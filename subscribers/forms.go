package subscribers

import "strings"

// IsPlace reports whether a text can be an env or a domain: lower-case letters and digits, with single hyphens between them.
func IsPlace(text string) bool {
	for part := range strings.SplitSeq(text, "-") {
		if !isMadeOf(part, lower+digits) {
			return false
		}
	}
	return true
}

// IsRegion reports whether a text has the form of a Region's code, as eu-west-2.
func IsRegion(text string) bool {
	parts := strings.Split(text, "-")
	last := len(parts) - 1
	if last < 2 || len(parts[0]) < 2 || !isMadeOf(parts[last], digits) {
		return false
	}
	for _, part := range parts[:last] {
		if !isMadeOf(part, lower) {
			return false
		}
	}
	return true
}

// isService reports whether a text is of serviceForm.
func isService(text string) bool {
	return text != "" && len(text) <= 128 && isMadeOf(text[:1], words) && isMadeOf(text, words+"._-")
}

// isFunction reports whether a text is of functionForm.
func isFunction(text string) bool {
	if strings.Count(text, ":") > 1 {
		parts := strings.SplitN(text, ":", 7)
		if len(parts) < 7 || !isFunctionARN(parts) {
			return false
		}
		text = parts[6]
	}
	name, qualifier, qualified := strings.Cut(text, ":")
	isWord := func(text string, most int) bool {
		return len(text) <= most && isMadeOf(text, words+"_-")
	}
	return isWord(name, 64) && (!qualified || qualifier == "$LATEST" || isWord(qualifier, 128))
}

// isFunctionARN judges arn:aws:lambda:REGION:ACCOUNT:function, without what follows.
func isFunctionARN(parts []string) bool {
	kind, isAWS := strings.CutPrefix(parts[1], "aws")
	return parts[0] == "arn" && isAWS && strings.Trim(kind, letters+"-") == "" && parts[2] == "lambda" && IsRegion(parts[3]) &&
		len(parts[4]) == 12 && isMadeOf(parts[4], digits) && parts[5] == "function"
}

const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
	letters = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	words   = letters + digits
)

// isMadeOf reports whether a text has characters, and only the given ones.
func isMadeOf(text, chars string) bool { return text != "" && strings.Trim(text, chars) == "" }
