package events

// ResumeDetailType is what the broadcaster sends to its own queue, with HintSource, to be invoked again: deliveries are
// pending.
const ResumeDetailType = "Deliveries Pending"
