package events

import "strings"

const (
	awsSource  = "aws.secretsmanager"
	awsCurrent = "AWSCURRENT"
)

// labelUpdated is AWS's own "Secret Label Updated": sent for every secret, without a trail, when a staging label other
// than AWSPENDING and AWSPREVIOUS moves
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/secret-event-notifications.html).
func labelUpdated() shape {
	return shape{source: awsSource, detailType: "Secret Label Updated", parse: func(d *document) (Signal, error) {
		switch {
		case d.Detail.Name == "":
			return Signal{}, malformedAt{"$.detail.name", "must be the secret's name"}
		case d.Detail.LabelUpdated == "":
			return Signal{}, malformedAt{"$.detail.labelUpdated", "must be a staging label"}
		case d.Detail.LabelUpdated != awsCurrent:
			return Signal{}, ignored{"only another label than AWSCURRENT moved"}
		case versionOf(d.Detail.VersionID) == "":
			return Signal{}, malformedAt{"$.detail.versionId", "must be the version that AWSCURRENT names now"}
		case len(d.Resources) != 1 || !strings.HasPrefix(d.Resources[0], "arn:"):
			return Signal{}, malformedAt{"$.resources", "must be the secret's ARN and nothing else"}
		}
		s, err := d.about(Moved, ref{"$.detail.name", d.Detail.Name, isName}, ref{"$.resources[0]", d.Resources[0], byAWS})
		s.VersionID, s.Label, s.Trusted = d.Detail.VersionID, awsCurrent, true
		return s, err
	}}
}

// versionOf returns a version's id, or nothing if it is too long for one or no visible text. It is compared and shown,
// nothing else.
func versionOf(id string) string {
	const longest = 64
	if len(id) > longest {
		return ""
	}
	return plain(id)
}
