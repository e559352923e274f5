package main

import (
	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/invalidation"
)

type metricName string

// The metrics. docs/metrics.md is generated from what metrics says of them.
const (
	heartbeat           metricName = "Heartbeat"
	received            metricName = "Received"
	appended            metricName = "Appended"
	duplicates          metricName = "Duplicates"
	unchanged           metricName = "Unchanged"
	ignored             metricName = "Ignored"
	malformed           metricName = "Malformed"
	unknown             metricName = "Unknown"
	misrouted           metricName = "Misrouted"
	failed              metricName = "Failed"
	warnings            metricName = "Warnings"
	eventToAppend       metricName = "EventToAppend"
	recentlyReadDeleted metricName = "RecentlyReadDeleted"

	missedFound   metricName = "MissedFound"
	behind        metricName = "Behind"
	checkFailures metricName = "CheckFailures"

	appendToAck  metricName = "AppendToAck"
	acknowledged metricName = "DeliveriesAcknowledged"
	undelivered  metricName = "DeliveriesFailed"
	skipped      metricName = "DeliveriesSkipped"
	pending      metricName = "DeliveriesPending"
	openFanouts  metricName = "OpenFanouts"
	paused       metricName = "Paused"
)

// When a metric has a value.
const (
	eachInvocation = "each invocation"
	eachTick       = "each tick"
	ifAny          = "when it happens"
	ifKnown        = "each invocation that could read it"
)

const (
	asCount = "Count"
	asTime  = "Milliseconds"
)

// A metric is one of CloudWatch's. Its texts are the documentation.
type metric struct {
	name       metricName
	unit       string
	statistic  string // the one that means something
	told, says string
}

// metrics are all there are, in the order of the document.
func metrics() []metric {
	return []metric{
		{heartbeat, asCount, "Sum", eachTick, "A tick began the log and came to look for missed changes. Its absence is the alarm: no value must count as breaching."},
		{received, asCount, "Sum", eachInvocation, "Events, ticks and messages to ourselves, each as often as it came."},
		{appended, asCount, "Sum", eachInvocation, "Events whose change is in the log now."},
		{duplicates, asCount, "Sum", eachInvocation, "Events whose change was in the log already: of one rotation most are."},
		{unchanged, asCount, "Sum", eachInvocation, "Events about nothing that a cache would notice."},
		{ignored, asCount, "Sum", eachInvocation, "Events that are no reason to invalidate anything."},
		{malformed, asCount, "Sum", eachInvocation, "Events with a wrong field. They come back and end in the dead-letter queue."},
		{unknown, asCount, "Sum", eachInvocation, "Events that nobody knows. They come back and end in the dead-letter queue."},
		{misrouted, asCount, "Sum", eachInvocation, "Events of another domain, account or Region: the rule that sent them is wrong."},
		{failed, asCount, "Sum", eachInvocation, "Events not confirmed or not appended in time, which come back, and secrets that a tick could not have described."},
		{warnings, asCount, "Sum", eachInvocation, "Ignored events that people should hear of: RotationFailed, RotationAbandoned, ReplicationFailed."},
		{eventToAppend, asTime, "p99", ifAny, "From when the queue took an event's message (invoked directly: from the invocation) to its change's append. One value per event that was appended."},
		{recentlyReadDeleted, asCount, "Sum", eachInvocation, "Secrets whose deletion was appended although an environment that reported in the last 6½ hours holds them. Reports are renewed every 6 hours: a shorter time would miss who reads all day. Reports that cannot be read count as holding it."},
		{missedFound, asCount, "Sum", eachTick, "Changes whose events never came: the tick found and appended them."},
		{behind, asCount, "Maximum", eachTick, "Environments whose newest report is of an older revision and was made later than `CheckEvery` after the next one's append."},
		{checkFailures, asCount, "Sum", eachTick, "Failed reads of the log that environments have told of since the tick before."},
		{appendToAck, asTime, "p99", ifAny, "From a revision's append to a function's ack of it. One value per acknowledged delivery; none of a replayed one."},
		{acknowledged, asCount, "Sum", eachInvocation, "Deliveries that ended as acknowledged."},
		{undelivered, asCount, "Sum", eachInvocation, "Deliveries that ended as failed."},
		{skipped, asCount, "Sum", eachInvocation, "Deliveries that ended as skipped: the log alone tells those functions."},
		{pending, asCount, "Maximum", ifKnown, "Deliveries that wait to be tried again, those held back by a pause included."},
		{openFanouts, asCount, "Maximum", ifKnown, "Revisions that still owe a subscription something."},
		{paused, asCount, "Maximum", ifKnown, "1 while pushes are paused, else 0."},
	}
}

// of returns the metric that counts how an event ended; ticks and messages to ourselves have none but Received.
func (i *item) metric() (metricName, bool) {
	name, ok := map[string]metricName{
		string(invalidation.Appended): appended, string(invalidation.Duplicate): duplicates, string(invalidation.Unchanged): unchanged,
		string(invalidation.Misrouted): misrouted, string(invalidation.Failed): failed,
		string(events.Ignored): ignored, string(events.Malformed): malformed, string(events.Unknown): unknown,
	}[i.outcome]
	return name, ok
}
