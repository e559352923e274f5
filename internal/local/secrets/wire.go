package secrets

import (
	"fmt"
	"time"
)

// The JSON of requests and answers, where it differs from the Go structs.

type wireError struct {
	Type    Code `json:"__type"`
	Message string
}

// epoch is a time as JSON has it: seconds with a fraction.
type epoch time.Time

// MarshalJSON implements json.Marshaler.
func (e epoch) MarshalJSON() ([]byte, error) {
	millis := time.Time(e).UnixMilli()
	return fmt.Appendf(nil, "%d.%03d", millis/1000, millis%1000), nil
}

// IsZero leaves a time out that is not there.
func (e epoch) IsZero() bool { return time.Time(e).IsZero() }

// text is a value that must not be empty if it is there at all.
func text(s *string) (string, error) {
	if s == nil {
		return "", nil
	}
	if *s == "" {
		return "", refuse(Validation, "1 validation error detected: Value at 'secretString' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	return *s, nil
}

type wireSecret struct {
	ARN       string `json:",omitempty"`
	Name      string
	VersionID string `json:"VersionId,omitempty"`
}

type wireCreateInput struct {
	Name, Description, ClientRequestToken string
	SecretString                          *string
	SecretBinary                          []byte
	ForceOverwriteReplicaSecret           bool // taken: there are no replicas
}

func (m *Manager) wireCreate(in wireCreateInput) (wireSecret, error) {
	value, err := text(in.SecretString)
	if err != nil {
		return wireSecret{}, err
	}
	out, err := m.CreateSecret(CreateSecretInput{
		Name: in.Name, Description: in.Description, SecretString: value, SecretBinary: in.SecretBinary, ClientRequestToken: in.ClientRequestToken,
	})
	return wireSecret(out), err
}

type wirePutInput struct {
	SecretID           string `json:"SecretId"`
	SecretString       *string
	SecretBinary       []byte
	VersionStages      []string
	ClientRequestToken string
}

type wirePutOutput struct {
	wireSecret
	VersionStages []string
}

func (m *Manager) wirePut(in wirePutInput) (wirePutOutput, error) {
	value, err := text(in.SecretString)
	if err != nil {
		return wirePutOutput{}, err
	}
	out, err := m.PutSecretValue(PutSecretValueInput{
		SecretID: in.SecretID, SecretString: value, SecretBinary: in.SecretBinary,
		VersionStages: in.VersionStages, ClientRequestToken: in.ClientRequestToken,
	})
	return wirePutOutput{wireSecret{out.ARN, out.Name, out.VersionID}, out.VersionStages}, err
}

type wireUpdateInput struct {
	SecretID           string `json:"SecretId"`
	Description        *string
	SecretString       *string
	SecretBinary       []byte
	ClientRequestToken string
}

func (m *Manager) wireUpdate(in wireUpdateInput) (wireSecret, error) {
	value, err := text(in.SecretString)
	if err != nil {
		return wireSecret{}, err
	}
	out, err := m.UpdateSecret(UpdateSecretInput{
		SecretID: in.SecretID, Description: in.Description, SecretString: value, SecretBinary: in.SecretBinary, ClientRequestToken: in.ClientRequestToken,
	})
	return wireSecret(out), err
}

type wireStageInput struct {
	SecretID            string `json:"SecretId"`
	VersionStage        string
	MoveToVersionID     string `json:"MoveToVersionId"`
	RemoveFromVersionID string `json:"RemoveFromVersionId"`
}

func (m *Manager) wireStage(in wireStageInput) (UpdateSecretVersionStageOutput, error) {
	return m.UpdateSecretVersionStage(UpdateSecretVersionStageInput(in))
}

type wireDeleteInput struct {
	SecretID                   string `json:"SecretId"`
	RecoveryWindowInDays       *int
	ForceDeleteWithoutRecovery bool
}

type wireDeleteOutput struct {
	wireSecret
	DeletionDate epoch
}

func (m *Manager) wireDelete(in wireDeleteInput) (wireDeleteOutput, error) {
	days := 0
	if in.RecoveryWindowInDays != nil {
		if days = *in.RecoveryWindowInDays; days == 0 {
			days = -1 // a window of no days is refused, a window not named is not
		}
	}
	out, err := m.DeleteSecret(DeleteSecretInput{in.SecretID, days, in.ForceDeleteWithoutRecovery})
	return wireDeleteOutput{wireSecret{ARN: out.ARN, Name: out.Name}, epoch(out.DeletionDate)}, err
}

type wireID struct {
	SecretID string `json:"SecretId"`
}

func (m *Manager) wireRestore(in wireID) (RestoreSecretOutput, error) {
	return m.RestoreSecret(in.SecretID)
}

type wireDescription struct {
	wireSecret
	Description     string `json:",omitempty"`
	CreatedDate     epoch
	LastChangedDate epoch
	DeletedDate     epoch `json:",omitzero"`
}

type wireDescribeOutput struct {
	wireDescription
	VersionIDsToStages map[string][]string `json:"VersionIdsToStages,omitempty"`
}

type wireListEntry struct {
	wireDescription
	SecretVersionsToStages map[string][]string `json:",omitempty"`
}

func wireDescriptionOf(d DescribeSecretOutput) wireDescription {
	return wireDescription{
		wireSecret{ARN: d.ARN, Name: d.Name},
		d.Description,
		epoch(d.CreatedDate), epoch(d.LastChangedDate), epoch(d.DeletedDate),
	}
}

func (m *Manager) wireDescribe(in wireID) (wireDescribeOutput, error) {
	out, err := m.DescribeSecret(in.SecretID)
	return wireDescribeOutput{wireDescriptionOf(out), out.VersionIDsToStages}, err
}

type wireGetInput struct {
	SecretID     string `json:"SecretId"`
	VersionID    string `json:"VersionId"`
	VersionStage string
}

type wireGetOutput struct {
	wireSecret
	SecretString  string `json:",omitempty"`
	SecretBinary  []byte `json:",omitempty"`
	VersionStages []string
	CreatedDate   epoch
}

func (m *Manager) wireGet(in wireGetInput) (wireGetOutput, error) {
	out, err := m.GetSecretValue(GetSecretValueInput(in))
	return wireGetOutput{wireSecret{out.ARN, out.Name, out.VersionID}, out.SecretString, out.SecretBinary, out.VersionStages, epoch(out.CreatedDate)}, err
}

type wireListInput struct {
	Filters []struct {
		Key    string
		Values []string
	}
	IncludePlannedDeletion bool
	MaxResults             *int
	NextToken              string
}

type wireListOutput struct {
	SecretList []wireListEntry
	NextToken  string `json:",omitempty"`
}

func (m *Manager) wireList(in wireListInput) (wireListOutput, error) {
	request := ListSecretsInput{IncludePlannedDeletion: in.IncludePlannedDeletion, NextToken: in.NextToken}
	for i, f := range in.Filters {
		if i > 0 || f.Key != "name" {
			return wireListOutput{}, refuse(Validation, "the local Secrets Manager supports one filter, with the key name")
		}
		for _, v := range f.Values {
			if v != "" && v[0] == '!' {
				return wireListOutput{}, refuse(Validation, "the local Secrets Manager does not support filter values that begin with !")
			}
		}
		request.NamePrefixes = f.Values
	}
	if in.MaxResults != nil {
		if request.MaxResults = *in.MaxResults; request.MaxResults == 0 {
			request.MaxResults = -1
		}
	}
	out, err := m.ListSecrets(request)
	answer := wireListOutput{SecretList: []wireListEntry{}, NextToken: out.NextToken}
	for _, d := range out.Secrets {
		answer.SecretList = append(answer.SecretList, wireListEntry{wireDescriptionOf(d), d.VersionIDsToStages})
	}
	return answer, err
}
