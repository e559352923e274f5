package events

// scheduledEvent and schedulerEvent are the ticks of an EventBridge rule's schedule and of EventBridge Scheduler, whose
// detail is text.
func scheduledEvent() shape { return tick("aws.events") }
func schedulerEvent() shape { return tick("aws.scheduler") }

func tick(source string) shape {
	return shape{source: source, detailType: "Scheduled Event", readsNothing: true, parse: func(*document) (Signal, error) {
		return Signal{}, errScheduled
	}}
}
