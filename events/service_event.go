package events

import "strings"

// serviceEvent is "AWS Service Event via CloudTrail": what Secrets Manager does by itself, in rotation, replication and
// deletion (https://docs.aws.amazon.com/secretsmanager/latest/userguide/cloudtrail_log_entries.html).
func serviceEvent() shape {
	return shape{source: awsSource, detailType: "AWS Service Event via CloudTrail", parse: func(d *document) (Signal, error) {
		return fromTrail(d, serviceMeans)
	}}
}

func serviceMeans(d *detail) (meaning, bool) {
	switch d.EventName {
	case "RotationSucceeded":
		return meaning{kind: Moved, versionID: rotated(d)}, true
	case "ReplicationSucceeded":
		return signals(Check), true // a copy has what its original has; it may be all that a copy's Region hears

	case "RotationStarted":
		return ignores("a rotation began; AWSCURRENT has not moved yet"), true
	case "RotationFailed":
		return warns("a rotation failed and AWSCURRENT did not move, but the database may already have the new password"), true
	case "RotationAbandoned":
		return warns("a rotation was given up for a version that somebody put meanwhile, which has an event of its own"), true
	case "TestRotationStarted", "TestRotationSucceeded", "TestRotationFailed":
		return ignores("a rotation was only tested"), true
	case "ReplicationStarted":
		return ignores("a copy in another Region is going to change; it has an event of its own"), true
	case "ReplicationFailed":
		return warns("a copy in another Region could not be changed and keeps the old value"), true
	case "StartSecretVersionDelete", "EndSecretVersionDelete":
		return ignores("the recovery window of a deleted secret is over; it has been unreadable since DeleteSecret"), true
	case "CancelSecretVersionDelete":
		return ignores("one version of a restored secret; RestoreSecret is the event of all"), true
	case "SecretVersionDeletion":
		return ignores("a version without labels was removed"), true
	}
	return meaning{}, false
}

// rotated returns the version that a rotation made, or nothing. It stands only in "Rotation-{ARN}-{version}", where nothing
// but AWS's own full ARN tells where it begins.
func rotated(d *detail) string {
	for _, arn := range []string{d.Additional.SecretID, d.Additional.ARN} {
		if version, ok := strings.CutPrefix(d.RequestID, "Rotation-"+arn+"-"); ok && strings.HasPrefix(arn, "arn:") {
			return version
		}
	}
	return ""
}
