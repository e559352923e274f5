package events

// scheduledEvent and schedulerEvent are the ticks of an EventBridge rule's schedule and of EventBridge Scheduler.
func scheduledEvent() shape { return tick("aws.events") }
func schedulerEvent() shape { return tick("aws.scheduler") }

func tick(source string) shape {
	return shape{source: source, detailType: "Scheduled Event", parse: func(Envelope) (Signal, error) {
		return Signal{}, errScheduled
	}}
}
