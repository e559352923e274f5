package secrets

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxNameLength  = 512
	maxValueBytes  = 65536
	minTokenLength = 32
	maxTokenLength = 64
	maxLabelLength = 256
	suffixTries    = 10
)

// CreateSecretInput asks for a new secret, with a first version unless both
// values are empty.
type CreateSecretInput struct {
	Name               string
	Description        string
	SecretString       string
	SecretBinary       []byte
	ClientRequestToken string // becomes the version id; empty: one is made
}

// CreateSecretOutput names what was created. VersionID is empty without a
// value.
type CreateSecretOutput struct{ ARN, Name, VersionID string }

// CreateSecret makes a secret. Repeated with the same token and value it
// changes nothing; with another it is refused with ResourceExists. A name that
// is scheduled for deletion is refused with InvalidRequest.
func (m *Manager) CreateSecret(in CreateSecretInput) (CreateSecretOutput, error) {
	v, err := checkValue(in.SecretString, in.SecretBinary)
	if err != nil {
		return CreateSecretOutput{}, err
	}
	if err := checkName(in.Name); err != nil {
		return CreateSecretOutput{}, err
	}
	id, err := m.versionID(in.ClientRequestToken)
	if err != nil {
		return CreateSecretOutput{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.stateOf(in.Name, time.Time{}); s != nil {
		if s.deleted.IsZero() && in.ClientRequestToken != "" && s.versions[id] != nil && s.versions[id].equal(v) {
			return CreateSecretOutput{s.arn, s.name, id}, nil
		}
		if !s.deleted.IsZero() {
			return CreateSecretOutput{}, refuse(InvalidRequest, "You can't create this secret because a secret with this name is already scheduled for deletion.")
		}
		return CreateSecretOutput{}, refuse(ResourceExists, "The operation failed because the secret %s already exists.", in.Name)
	}
	now := m.cfg.Now()
	s := &state{
		arn: m.newARN(in.Name), name: in.Name, description: in.Description,
		versions: make(map[string]*version), labels: make(map[string]string),
	}
	if t := m.tracks[in.Name]; t != nil {
		s.changed = t.changed
	}
	s = s.next(now)
	s.created = s.changed
	out := CreateSecretOutput{ARN: s.arn, Name: s.name}
	if !v.empty() {
		s.add(id, v)
		if err := s.attachNew(id, nil); err != nil {
			return CreateSecretOutput{}, err
		}
		out.VersionID = id
	}
	m.record(in.Name, now, s)
	return out, nil
}

// newARN makes an ARN that the name has not had last, nor in the history that
// is kept.
func (m *Manager) newARN(name string) string {
	last := ""
	if t := m.tracks[name]; t != nil {
		last = t.arn
	}
	for range suffixTries {
		arn := m.prefix + name + "-" + m.cfg.Suffix()
		if _, taken := m.names[arn]; !taken && arn != last {
			return arn
		}
	}
	return m.prefix + name + "-" + randomSuffix()
}

// PutSecretValueInput asks for a new version. VersionStages nil means
// AWSCURRENT.
type PutSecretValueInput struct {
	SecretID           string
	SecretString       string
	SecretBinary       []byte
	VersionStages      []string
	ClientRequestToken string // becomes the version id; empty: one is made
}

// PutSecretValueOutput names the version and the labels it has.
type PutSecretValueOutput struct {
	ARN, Name, VersionID string
	VersionStages        []string
}

// PutSecretValue makes a version and moves the labels to it. Repeated with the
// same token and value it changes nothing; with another value it is refused
// with ResourceExists.
func (m *Manager) PutSecretValue(in PutSecretValueInput) (PutSecretValueOutput, error) {
	v, err := requireValue(in.SecretString, in.SecretBinary)
	if err != nil {
		return PutSecretValueOutput{}, err
	}
	labels := in.VersionStages
	if labels == nil {
		labels = []string{Current}
	}
	if err := checkStages(labels); err != nil {
		return PutSecretValueOutput{}, err
	}
	id, err := m.versionID(in.ClientRequestToken)
	if err != nil {
		return PutSecretValueOutput{}, err
	}
	s, err := m.change(in.SecretID, func(s *state) (bool, error) {
		if existing := s.versions[id]; existing != nil {
			if existing.equal(v) {
				return false, nil
			}
			return false, versionExists(id)
		}
		s.add(id, v)
		return true, s.attachNew(id, labels)
	})
	if err != nil {
		return PutSecretValueOutput{}, err
	}
	return PutSecretValueOutput{s.arn, s.name, id, s.stages(id)}, nil
}

func versionExists(id string) error {
	return refuse(ResourceExists, "You can't use ClientRequestToken %s because that value is already in use for a version of the secret.", id)
}

// UpdateSecretInput asks for another description (nil: as it is), or a new
// value (both empty: as it is), or both.
type UpdateSecretInput struct {
	SecretID           string
	Description        *string
	SecretString       string
	SecretBinary       []byte
	ClientRequestToken string // only with a value: becomes the version id
}

// UpdateSecretOutput names the secret, and the version if one was made.
type UpdateSecretOutput struct{ ARN, Name, VersionID string }

// UpdateSecret changes the description, or makes a version and moves
// AWSCURRENT to it. A token that is a version's id already is refused with
// ResourceExists.
func (m *Manager) UpdateSecret(in UpdateSecretInput) (UpdateSecretOutput, error) {
	v, err := checkValue(in.SecretString, in.SecretBinary)
	if err != nil {
		return UpdateSecretOutput{}, err
	}
	id := ""
	if !v.empty() {
		if id, err = m.versionID(in.ClientRequestToken); err != nil {
			return UpdateSecretOutput{}, err
		}
	}
	s, err := m.change(in.SecretID, func(s *state) (bool, error) {
		if in.Description != nil {
			s.description = *in.Description
		}
		if v.empty() {
			return true, nil
		}
		if s.versions[id] != nil {
			return false, versionExists(id)
		}
		s.add(id, v)
		return true, s.attachNew(id, []string{Current})
	})
	if err != nil {
		return UpdateSecretOutput{}, err
	}
	return UpdateSecretOutput{s.arn, s.name, id}, nil
}

// UpdateSecretVersionStageInput asks to move a label to a version, or to take
// it off one.
type UpdateSecretVersionStageInput struct {
	SecretID            string
	VersionStage        string
	MoveToVersionID     string // empty: only take it off
	RemoveFromVersionID string // the version that has the label; empty: none has
}

// UpdateSecretVersionStageOutput names the secret.
type UpdateSecretVersionStageOutput struct{ ARN, Name string }

// UpdateSecretVersionStage moves a label. AWSPREVIOUS follows AWSCURRENT to the
// version that it left. A label that some version has moves only if
// RemoveFromVersionID names that version; AWSCURRENT cannot be taken off.
func (m *Manager) UpdateSecretVersionStage(in UpdateSecretVersionStageInput) (UpdateSecretVersionStageOutput, error) {
	if err := checkStages([]string{in.VersionStage}); err != nil {
		return UpdateSecretVersionStageOutput{}, err
	}
	if in.MoveToVersionID == "" && in.RemoveFromVersionID == "" {
		return UpdateSecretVersionStageOutput{}, refuse(InvalidParameter, "You must specify MoveToVersionId or RemoveFromVersionId.")
	}
	s, err := m.change(in.SecretID, func(s *state) (bool, error) {
		for _, id := range []string{in.MoveToVersionID, in.RemoveFromVersionID} {
			if id != "" && s.versions[id] == nil {
				return false, versionNotFound(id)
			}
		}
		return s.relabel(in.VersionStage, in.MoveToVersionID, in.RemoveFromVersionID)
	})
	if err != nil {
		return UpdateSecretVersionStageOutput{}, err
	}
	return UpdateSecretVersionStageOutput{s.arn, s.name}, nil
}

func versionNotFound(id string) error {
	return refuse(ResourceNotFound, "Secrets Manager can't find the specified secret value for VersionId: %s", id)
}

// change makes the next state of a secret that is not marked for deletion,
// unless the edit says that nothing changes. It returns the state that holds
// afterwards, and tells of label moves.
func (m *Manager) change(secretID string, edit func(*state) (bool, error)) (*state, error) {
	s, events, err := m.edit(secretID, edit)
	if m.cfg.OnLabel != nil {
		for _, e := range events {
			m.cfg.OnLabel(e)
		}
	}
	return s, err
}

func (m *Manager) edit(secretID string, edit func(*state) (bool, error)) (*state, []LabelUpdated, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.find(secretID, time.Time{})
	switch {
	case s == nil:
		return nil, nil, notFound()
	case !s.deleted.IsZero():
		return nil, nil, markedForDeletion()
	}
	now := m.cfg.Now()
	next := s.next(now)
	changed, err := edit(next)
	if err != nil || !changed {
		return s, nil, err
	}
	next.dropDeprecated()
	return next, m.record(next.name, now, next), nil
}

func (m *Manager) versionID(token string) (string, error) {
	if token == "" {
		return m.cfg.VersionID(), nil
	}
	if n := utf8.RuneCountInString(token); n < minTokenLength || n > maxTokenLength {
		return "", refuse(InvalidParameter, "ClientRequestToken must be %d-%d characters long.", minTokenLength, maxTokenLength)
	}
	return token, nil
}

func checkName(name string) error {
	bad := func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("/_+=.@-", r)
	}
	if name == "" || len(name) > maxNameLength || strings.ContainsFunc(name, bad) {
		return refuse(Validation, "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	return nil
}

func checkValue(text string, binary []byte) (value, error) {
	switch {
	case text != "" && len(binary) > 0:
		return value{}, refuse(InvalidParameter, "You can't specify both a binary secret value and a string secret value in the same secret.")
	case len(text) > maxValueBytes || len(binary) > maxValueBytes:
		return value{}, refuse(Validation, "1 validation error detected: the secret value must have length less than or equal to %d", maxValueBytes)
	case len(binary) > 0:
		return value{binary: slices.Clone(binary)}, nil
	}
	return value{text: text}, nil
}

func requireValue(text string, binary []byte) (value, error) {
	v, err := checkValue(text, binary)
	if err == nil && v.empty() {
		err = refuse(InvalidRequest, "You must provide either SecretString or SecretBinary.")
	}
	return v, err
}

func checkStages(labels []string) error {
	if len(labels) == 0 || len(labels) > maxLabels {
		return refuse(InvalidParameter, "VersionStages must have 1 to %d labels.", maxLabels)
	}
	for _, label := range labels {
		if label == "" || utf8.RuneCountInString(label) > maxLabelLength {
			return refuse(InvalidParameter, "A staging label must have 1 to %d characters.", maxLabelLength)
		}
	}
	return nil
}
