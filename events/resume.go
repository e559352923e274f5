package events

// ResumeDetailType is what the broadcaster sends to its own queue, with HintSource, to be invoked again: deliveries are
// pending. Anybody may send it: it costs one look at the open fan-outs.
const ResumeDetailType = "Deliveries Pending"

// resume is the message to ourselves.
func resume() shape {
	return shape{source: HintSource, detailType: ResumeDetailType, readsNothing: true, parse: func(*document) (Signal, error) {
		return Signal{}, errResumed
	}}
}
