package secrets

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxPage = 100

// DescribeSecretOutput is a secret without its values.
type DescribeSecretOutput struct {
	ARN, Name, Description string
	CreatedDate            time.Time
	// LastChangedDate moves at every change: values, labels, description,
	// deletion and restore. It has milliseconds and never stands still.
	LastChangedDate time.Time
	// DeletedDate is when deletion was asked for; zero unless it is scheduled.
	// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_SecretListEntry.html
	DeletedDate time.Time
	// VersionIDsToStages has the versions that have a label.
	VersionIDsToStages map[string][]string
}

// DescribeSecret tells all about a secret but its values, also if it is marked
// for deletion.
func (m *Manager) DescribeSecret(secretID string) (DescribeSecretOutput, error) {
	s := m.read(Describe, secretID)
	if s == nil {
		return DescribeSecretOutput{}, notFound()
	}
	return s.describe(), nil
}

func (s *state) describe() DescribeSecretOutput {
	return DescribeSecretOutput{
		ARN: s.arn, Name: s.name, Description: s.description,
		CreatedDate: s.created, LastChangedDate: s.changed, DeletedDate: s.deleted,
		VersionIDsToStages: s.allStages(),
	}
}

// GetSecretValueInput names a version by id, by label, or by both, which must
// agree. Neither means AWSCURRENT.
type GetSecretValueInput struct {
	SecretID     string
	VersionID    string
	VersionStage string
}

// GetSecretValueOutput is one version. Exactly one of the values is set.
type GetSecretValueOutput struct {
	ARN, Name, VersionID string
	SecretString         string
	SecretBinary         []byte
	VersionStages        []string
	CreatedDate          time.Time // of the version
}

// GetSecretValue reads a version, also one without labels, by its id. A secret
// marked for deletion is refused with InvalidRequest.
func (m *Manager) GetSecretValue(in GetSecretValueInput) (GetSecretValueOutput, error) {
	kind := Label
	if in.VersionID != "" {
		kind = Version
	}
	s := m.read(kind, in.SecretID)
	switch {
	case s == nil:
		return GetSecretValueOutput{}, notFound()
	case !s.deleted.IsZero():
		return GetSecretValueOutput{}, markedForDeletion()
	}
	v, err := s.version(in.VersionID, in.VersionStage)
	if err != nil {
		return GetSecretValueOutput{}, err
	}
	return GetSecretValueOutput{
		ARN: s.arn, Name: s.name, VersionID: v.id,
		SecretString: v.text, SecretBinary: slices.Clone(v.binary),
		VersionStages: s.stages(v.id), CreatedDate: v.created,
	}, nil
}

func (s *state) version(id, label string) (*version, error) {
	if id == "" {
		if label == "" {
			label = Current
		}
		if v := s.versions[s.labels[label]]; v != nil {
			return v, nil
		}
		return nil, refuse(ResourceNotFound, "Secrets Manager can't find the specified secret value for staging label: %s", label)
	}
	v := s.versions[id]
	switch {
	case v == nil:
		return nil, versionNotFound(id)
	case label != "" && s.labels[label] != id:
		return nil, refuse(InvalidRequest, "You provided a VersionStage that is not associated to the provided VersionId.")
	}
	return v, nil
}

// ListSecretsInput asks for a page of secrets.
type ListSecretsInput struct {
	// NamePrefixes keeps secrets whose name begins with any of them, case
	// mattering. Nil: all.
	NamePrefixes []string
	// IncludePlannedDeletion shows those marked for deletion too.
	IncludePlannedDeletion bool
	MaxResults             int    // 1 to 100; 0: 100
	NextToken              string // of the page before; empty: the first page
}

// ListSecretsOutput is a page. NextToken is empty on the last one.
type ListSecretsOutput struct {
	Secrets   []DescribeSecretOutput
	NextToken string
}

// ListSecrets lists secrets in the order of their creation. Each page is
// answered from one moment; a lag may differ from page to page.
func (m *Manager) ListSecrets(in ListSecretsInput) (ListSecretsOutput, error) {
	size := in.MaxResults
	switch {
	case size == 0:
		size = maxPage
	case size < 1 || size > maxPage:
		return ListSecretsOutput{}, refuse(InvalidParameter, "MaxResults must be between 1 and %d.", maxPage)
	}
	after, err := parsePlace(in.NextToken)
	if err != nil {
		return ListSecretsOutput{}, err
	}
	found := m.matching(in, after)
	slices.SortFunc(found, func(a, b *state) int { return a.place().compare(b.place()) })
	var out ListSecretsOutput
	for _, s := range found[:min(size, len(found))] {
		out.Secrets = append(out.Secrets, s.describe())
	}
	if len(found) > size {
		out.NextToken = found[size-1].place().token()
	}
	return out, nil
}

// matching are the secrets that a page and those after it hold.
func (m *Manager) matching(in ListSecretsInput, after place) []*state {
	at := m.moment(List, "")
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []*state
	for name := range m.tracks {
		wanted := in.NamePrefixes == nil || slices.ContainsFunc(in.NamePrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		if !wanted {
			continue
		}
		s := m.stateOf(name, at)
		if s != nil && (in.IncludePlannedDeletion || s.deleted.IsZero()) && s.place().compare(after) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// place is where a secret stands in a listing; the zero value is before all.
type place struct {
	created int64 // milliseconds
	name    string
}

func (s *state) place() place { return place{s.created.UnixMilli(), s.name} }

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.created, other.created), strings.Compare(p.name, other.name))
}

func (p place) token() string {
	return base64.URLEncoding.EncodeToString([]byte(strconv.FormatInt(p.created, 10) + " " + p.name))
}

func parsePlace(token string) (place, error) {
	if token == "" {
		return place{created: -1 << 62}, nil
	}
	text, err := base64.URLEncoding.DecodeString(token)
	created, name, ok := strings.Cut(string(text), " ")
	millis, notNumber := strconv.ParseInt(created, 10, 64)
	if err != nil || notNumber != nil || !ok {
		return place{}, refuse(InvalidNextToken, "The NextToken value is invalid.")
	}
	return place{millis, name}, nil
}
