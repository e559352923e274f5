package wire

import "time"

// Outcome is what an environment did about one change.
type Outcome string

// The outcomes of an Ack and a Report.
const (
	Applied   Outcome = "applied"    // the new version is what the environment serves
	NotCached Outcome = "not-cached" // the environment held nothing of this secret: no proof of anything
	Failed    Outcome = "failed"     // see Reason; the environment tries again at its next read
	Observed  Outcome = "observed"   // the client runs in observe mode: counted, nothing changed
)

// SecretOutcome is the outcome for one secret in one environment.
type SecretOutcome struct {
	Name string `json:"name"`
	// VersionID is the version the environment now serves; empty where it serves none.
	VersionID string  `json:"versionId,omitempty"`
	Outcome   Outcome `json:"outcome"`
	// Verified: the environment fetched the version and every OnChange accepted it.
	Verified bool `json:"verified,omitempty"`
	// Reason says why it failed, without any value.
	Reason string `json:"reason,omitempty"`
}

// Ack is the answer of an Invoke with an Invalidation. Secrets is filled only if the push's hash is the log's, and the
// broadcaster counts the ack only if Hash is the log's at Revision.
type Ack struct {
	Schema      int             `json:"schema"`
	Client      string          `json:"client"`
	Service     string          `json:"service"`
	Function    string          `json:"function,omitempty"`
	Environment string          `json:"environment"`
	LogStream   string          `json:"logStream,omitempty"`
	Revision    int64           `json:"revision"`
	Hash        string          `json:"hash,omitempty"`
	Secrets     []SecretOutcome `json:"secrets,omitempty"`
	// Problem says why the log could not be read for this push, or why the push was refused.
	Problem string `json:"problem,omitempty"`
}

// Report is an environment's own word about itself, written by the client beside the handler.
type Report struct {
	Schema      int    `json:"schema"`
	Client      string `json:"client"`
	Env         string `json:"env"`
	Domain      string `json:"domain"`
	Service     string `json:"service"`
	Function    string `json:"function,omitempty"`
	Version     string `json:"version,omitempty"` // the function's version, "$LATEST" or a number
	Environment string `json:"environment"`
	LogStream   string `json:"logStream,omitempty"`
	// TakesInvalidations: the handler is wrapped, so that a push never reaches the function's own code.
	TakesInvalidations bool      `json:"takesInvalidations"`
	Mode               string    `json:"mode"`
	Started            time.Time `json:"started"`
	Time               time.Time `json:"time"`
	Revision           int64     `json:"revision"`
	Hash               string    `json:"hash,omitempty"`
	// CheckEverySeconds and MaxTTLSeconds bound how stale this environment can be.
	CheckEverySeconds float64         `json:"checkEverySeconds"`
	MaxTTLSeconds     float64         `json:"maxTtlSeconds"`
	Secrets           []SecretOutcome `json:"secrets,omitempty"`
	Counts            Counts          `json:"counts"`
}

// Counts are totals since the environment started.
type Counts struct {
	Checks        int64 `json:"checks"`        // reads of the log that answered
	CheckFailures int64 `json:"checkFailures"` // reads of the log that did not, retries included in one
	Fetches       int64 `json:"fetches"`       // GetSecretValue calls
	FetchFailures int64 `json:"fetchFailures"` // fetches that gave no usable value
	LateAnswers   int64 `json:"lateAnswers"`   // answers of Secrets Manager older than a change the log had told
	Invalidated   int64 `json:"invalidated"`   // cached secrets, within their TTL, marked for refetch or evicted; in observe mode: would have been
	Uncertain     int64 `json:"uncertain"`     // reads served although the log could not be read: the first exception of G1
	Outdated      int64 `json:"outdated"`      // reads served although a newer version was known but could not be fetched: the second
	// ReportFailures are reports that were not written: the next that is tells of them.
	ReportFailures int64 `json:"reportFailures"`
}
