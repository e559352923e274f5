package fleet

// A happening is something that the model is there for. TestFleet counts them: what never happens proves nothing.
type happening string

const (
	crashedBeforeDelivery happening = "a broadcaster was killed between append and delivery"
	crashedInDelivery     happening = "a broadcaster was killed while it delivered"
	appendsMet            happening = "two broadcasters appended at once"
	describedLate         happening = "DescribeSecret answered with an older state"
	labelLate             happening = "a read by label answered with an older state"
	readTheirs            happening = "another account's secret of the same name was read"
	versionLate           happening = "a read by version id did not find it yet"

	eventLost       happening = "an event was lost"
	eventDoubled    happening = "an event came twice"
	rolledBack      happening = "a rollback"
	rolledBackMute  happening = "a rollback whose event was lost"
	deleted         happening = "a secret was deleted"
	restored        happening = "a deleted secret was restored"
	recreated       happening = "a secret was deleted and made anew"
	manyAtOnce      happening = "a hundred secrets changed at once"
	severalUnseen   happening = "an environment missed several changes of a secret between two looks"
	thereAndBack    happening = "AWSCURRENT went and came back between two looks of an environment"
	restoredTable   happening = "the tables were restored to before rows that had been read"
	changedInFlight happening = "a change was appended while a fetch was on its way"

	pushLost    happening = "a push was lost"
	pushDoubled happening = "a push came twice"
	pushLate    happening = "a push came late, after newer ones"
	pushForged  happening = "a forged push came"

	logDown       happening = "the log could not be read"
	logHung       happening = "the log did not answer"
	rowMissing    happening = "a row was missing from the log's answer"
	secretsFailed happening = "Secrets Manager could not be reached"

	frozen         happening = "an environment was frozen"
	frozenInFlight happening = "an environment was frozen with a request on its way"
	answeredThawed happening = "an answer came after the freeze that it was sent before"
	clockStood     happening = "a monotonic clock stood still in a freeze"
	clockSet       happening = "a wall clock was set"
	concurrent     happening = "an environment served several requests at once"
	readThawed     happening = "a read that nobody waited for went on after a freeze" // Node only
	born           happening = "an environment was born"
	died           happening = "an environment died"

	promised        happening = "whoever waited was told that a change is expected to have arrived"
	promisedByProof happening = "whoever waited was told so since acks prove it"
	promisedCertain happening = "whoever waited was told that a change has certainly arrived"
)

func happenings() []happening {
	return []happening{
		crashedBeforeDelivery, crashedInDelivery, appendsMet, describedLate, labelLate, versionLate, readTheirs,
		eventLost, eventDoubled, rolledBack, rolledBackMute, deleted, restored, recreated, manyAtOnce, severalUnseen, thereAndBack,
		restoredTable, changedInFlight, pushLost, pushDoubled, pushLate, pushForged, logDown, logHung, rowMissing, secretsFailed,
		frozen, frozenInFlight, answeredThawed, clockStood, clockSet, concurrent, born, died, promised, promisedByProof, promisedCertain,
	}
}
