package secrets

import "slices"

// The rules of staging labels: a label is on at most one version; the first
// version of a secret gets AWSCURRENT, which from then on can only move; when
// it moves, AWSPREVIOUS goes to the version that it left.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html

// attachNew puts the labels on a version that was just made.
func (s *state) attachNew(id string, labels []string) error {
	if s.labels[Current] == "" && !slices.Contains(labels, Current) {
		labels = append(slices.Clone(labels), Current)
	}
	for _, label := range labels {
		if label != Current {
			s.labels[label] = id
		}
	}
	if slices.Contains(labels, Current) {
		s.moveCurrent(id)
	}
	return s.checkLabels(id)
}

// moveCurrent moves AWSCURRENT, and AWSPREVIOUS after it.
func (s *state) moveCurrent(to string) {
	from := s.labels[Current]
	if from == to {
		return
	}
	s.labels[Current] = to
	if from != "" {
		s.labels[Previous] = from
	} else if s.labels[Previous] == to {
		delete(s.labels, Previous)
	}
}

func (s *state) checkLabels(id string) error {
	if len(s.stages(id)) > maxLabels {
		return refuse(LimitExceeded, "The request failed because it would exceed %d staging labels on one version.", maxLabels)
	}
	return nil
}

// relabel is UpdateSecretVersionStage on a state; changed is false if the
// label already is where it should be. The versions are known to be there.
func (s *state) relabel(label, to, from string) (changed bool, err error) {
	at := s.labels[label]
	switch {
	case from != "" && from != at:
		return false, refuse(InvalidParameter, "RemoveFromVersionId must be the version that staging label %s is currently attached to.", label)
	case to == "" && label == Current:
		return false, refuse(InvalidParameter, "You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.")
	case to == "":
		delete(s.labels, label)
		return true, nil
	case to == at:
		return false, nil
	case at != "" && from == "":
		return false, refuse(InvalidParameter, "The parameter RemoveFromVersionId can't be empty. Staging label %s is currently attached to version %s, so you must explicitly reference that version in RemoveFromVersionId.", label, at)
	case label == Previous && to == s.labels[Current]:
		return false, refuse(InvalidParameter, "Staging label AWSPREVIOUS can't be attached to the version that has AWSCURRENT.")
	case label == Current:
		s.moveCurrent(to)
	default:
		s.labels[label] = to
	}
	return true, s.checkLabels(to)
}
