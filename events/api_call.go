package events

import "slices"

// apiCall is "AWS API Call via CloudTrail": a call of Secrets Manager's API, sent where a trail logs, on a best effort
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/cloudtrail_log_entries.html).
func apiCall() shape {
	return shape{source: awsSource, detailType: "AWS API Call via CloudTrail", parse: func(d *document) (Signal, error) {
		d.Detail.Service.SecretID = "" // of service events only
		return fromTrail(d, callMeans)
	}}
}

func callMeans(d *detail) (meaning, bool) {
	switch d.EventName {
	case "PutSecretValue":
		return putMeans(d), true
	case "UpdateSecretVersionStage":
		return stageMeans(d), true
	case "UpdateSecret":
		// The value is never logged, and SDKs send a token even for another description: only DescribeSecret tells.
		return signals(Check), true
	case "CreateSecret":
		return signals(Check), true // with a first value or without one
	case "DeleteSecret":
		return signals(Deleted), true // unreadable at once, whatever its recovery window
	case "RestoreSecret":
		return signals(Restored), true

	case "RotateSecret":
		return ignores("a rotation was asked for; AWSCURRENT has not moved yet"), true
	case "CancelRotateSecret":
		return ignores("a rotation was cancelled; AWSCURRENT did not move"), true
	case "ReplicateSecretToRegions", "RemoveRegionsFromReplication":
		return ignores("only copies in other Regions change; the broadcasters there hear of it"), true
	case "StopReplicationToReplica":
		return ignores("a copy became a secret of its own, with the same value"), true
	case "PutResourcePolicy", "DeleteResourcePolicy":
		return ignores("only the resource policy changed; a value that is cached outlives a permission that was taken away"), true
	case "TagResource", "UntagResource":
		return ignores("only tags changed"), true

	case "GetSecretValue", "BatchGetSecretValue", "DescribeSecret", "ListSecrets", "ListSecretVersionIds",
		"GetResourcePolicy", "ValidateResourcePolicy", "GetRandomPassword":
		return ignores(readsOnly), true
	}
	return meaning{}, false
}

// putMeans: a new version takes AWSCURRENT unless the caller gave it other labels only, as a rotation's first step does.
func putMeans(d *detail) meaning {
	stages := d.Request.VersionStages
	if len(stages) > 0 && !slices.Contains(stages, awsCurrent) {
		return ignores("the new version has other labels than AWSCURRENT only, which has not moved")
	}
	return meaning{kind: Moved, versionID: d.Request.ClientRequestToken}
}

// stageMeans: a label moved, forward or back.
func stageMeans(d *detail) meaning {
	switch d.Request.VersionStage {
	case awsCurrent:
		return meaning{kind: Moved, versionID: d.Request.MoveToVersionID}
	case "":
		return signals(Check) // no such call: better one look too many than a rollback that nobody sees
	default:
		return ignores("only another label than AWSCURRENT moved")
	}
}
