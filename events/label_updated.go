package events

import (
	"encoding/json"
	"strings"
)

// labelUpdated is AWS's own "Secret Label Updated": sent for every secret, without a trail, when a staging label other
// than AWSPENDING and AWSPREVIOUS moves
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/secret-event-notifications.html).
func labelUpdated() shape {
	return shape{source: "aws.secretsmanager", detailType: "Secret Label Updated", parse: func(e Envelope) (Signal, error) {
		var detail struct {
			Name         string `json:"name"`
			LabelUpdated string `json:"labelUpdated"`
			VersionID    string `json:"versionId"`
		}
		if err := json.Unmarshal(e.Detail, &detail); err != nil {
			return Signal{}, err
		}
		switch {
		case detail.Name == "":
			return Signal{}, malformedAt{"$.detail.name", "must be the secret's name"}
		case detail.LabelUpdated == "":
			return Signal{}, malformedAt{"$.detail.labelUpdated", "must be a staging label"}
		}
		s, err := named(detail.Name)
		if err != nil {
			return Signal{}, err
		}
		if detail.LabelUpdated != "AWSCURRENT" {
			return Signal{}, ignored{"only another label than AWSCURRENT moved"}
		}
		if detail.VersionID == "" {
			return Signal{}, malformedAt{"$.detail.versionId", "must be the version that AWSCURRENT names now"}
		}
		if len(e.Resources) != 1 || !strings.HasPrefix(e.Resources[0], "arn:") {
			return Signal{}, malformedAt{"$.resources[0]", "must be the secret's ARN"}
		}
		s.Kind, s.ARN, s.VersionID, s.Label = Moved, e.Resources[0], detail.VersionID, detail.LabelUpdated
		s.Time, s.Replay, s.Trusted = e.Time, e.Replay, true
		return s, nil
	}}
}
