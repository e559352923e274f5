package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Witnessed is what the broadcaster's own log lines say it wrote. They are kept where who may write the store cannot change
// them, so they tell of a store that was written anew from some row on.
type Witnessed struct {
	// Rows are the hashes that were logged for each revision: more than one if the log was restored in between.
	Rows map[int64][]string
	// Commands are those that were logged, by the request id of their invocation.
	Commands map[string]invalidation.Command
	// Since is when the first of these lines was logged; zero if there is none.
	Since time.Time
}

// NewWitnessed returns one that has seen nothing.
func NewWitnessed() Witnessed {
	return Witnessed{Rows: map[int64][]string{}, Commands: map[string]invalidation.Command{}}
}

// maxLine is more than any line of the broadcaster's has.
const maxLine = 1 << 20

// ReadLog reads log lines of the broadcaster: JSON, one a line, as CloudWatch keeps them. What else there is, it leaves out.
func ReadLog(lines io.Reader) (Witnessed, error) {
	w := NewWitnessed()
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(nil, maxLine)
	for scanner.Scan() {
		w.Take(scanner.Bytes())
	}
	if err := scanner.Err(); err != nil {
		return Witnessed{}, fmt.Errorf("reading the broadcaster's log lines: %w", err)
	}
	return w, nil
}

// Take adds what a log line says.
func (w *Witnessed) Take(line []byte) {
	begin := bytes.IndexByte(line, '{') // what shows a log may put a time before each line
	if begin < 0 || !bytes.Contains(line, []byte(`"appended"`)) && !bytes.Contains(line, []byte(`"a command was recorded"`)) {
		return
	}
	var is struct {
		Msg, Hash, Command, About, By, Reason, RequestID string
		Revision                                         int64
		Time, At                                         time.Time
	}
	if json.Unmarshal(line[begin:], &is) != nil || is.Time.IsZero() {
		return
	}
	switch is.Msg {
	case "appended":
		if !slices.Contains(w.Rows[is.Revision], is.Hash) {
			w.Rows[is.Revision] = append(w.Rows[is.Revision], is.Hash)
		}
	case "a command was recorded":
		w.Commands[is.RequestID] = invalidation.Command{Name: is.Command, About: is.About, By: is.By, Reason: is.Reason, RequestID: is.RequestID, At: is.At}
	default:
		return
	}
	if w.Since.IsZero() || is.Time.Before(w.Since) {
		w.Since = is.Time
	}
}

// A Problem is something in the store that is not as it was written.
type Problem struct {
	// Revision is where it is; 0 if it is about a command.
	Revision int64  `json:"revision,omitempty"`
	Problem  string `json:"problem"`
}

// Verified is what verifying came to.
type Verified struct {
	Rows int64                 `json:"rows"`
	Head invalidation.Position `json:"head"`
	// Witnessed is how many rows were compared with what the broadcaster logged, and Commands how many commands.
	Witnessed int64 `json:"witnessed"`
	Commands  int64 `json:"commands"`
	// Unlogged is how many rows and commands of the last minutes were not logged yet.
	Unlogged int64 `json:"unlogged,omitempty"`
	// Unsealed is how many rows do not cover their audit records: those of an older broadcaster.
	Unsealed int64     `json:"unsealed,omitempty"`
	Problems []Problem `json:"problems"`
}

// maxProblems bounds what is kept: one row too many in the middle makes each later one wrong.
const maxProblems = 100

func (v *Verified) tell(revision int64, format string, args ...any) {
	if len(v.Problems) < maxProblems {
		v.Problems = append(v.Problems, Problem{revision, fmt.Sprintf(format, args...)})
	}
}

// arrives is how long a log line may take to be where it is read.
const arrives = 10 * time.Minute

// Verify walks the log from its first row to its head: each row is what its hash was made of, names the hash of the row
// before and stands where its revision says; its audit record is what the row says; it was logged with this hash, and
// nothing was logged that is not there. What is of before the first line that was read cannot be compared. Its memory grows with
// what was witnessed only. An error means that the store could not be read to its end.
func Verify(ctx context.Context, store Store, witnessed Witnessed, now time.Time) (Verified, error) {
	v := verifying{Verified: Verified{Problems: []Problem{}}, witnessed: witnessed, now: now}
	for row, err := range store.Rows(ctx, history.Span{}) {
		if err != nil {
			return v.Verified, err
		}
		v.row(row)
	}
	v.end()
	commands, err := store.Commands(ctx)
	if err != nil {
		return v.Verified, fmt.Errorf("reading the commands: %w", err)
	}
	v.commands(commands)
	return v.Verified, nil
}

// A verifying is a Verified that is not complete yet.
type verifying struct {
	Verified
	witnessed Witnessed
	now       time.Time
	sealed    bool // a row before covers its audit record
}

// row goes on with the next row.
func (v *verifying) row(row history.Row) {
	at := row.Revision
	switch {
	case wire.Verify(row.Body, row.Hash) != nil:
		v.tell(at, "the row is not what its hash was made of")
	case row.Key != wire.RevisionKey(at):
		v.tell(at, "the row stands at %s, where another belongs", row.Key)
	case at != v.Head.Revision+1:
		v.tell(at, "the row before it is revision %d: rows are missing, doubled or not in their order", v.Head.Revision)
	case row.PreviousHash != v.Head.Hash:
		v.tell(at, "it was appended to another row than the one before it")
	}
	switch {
	case row.AuditHash == "" && v.sealed:
		v.tell(at, "it does not cover its audit record, and rows before it do")
	case row.AuditHash == "":
		v.Unsealed++
	case row.Record == nil:
		v.tell(at, "its audit record is missing")
	case wire.Verify(row.Record, row.AuditHash) != nil:
		v.tell(at, "its audit record is not the one that was written with it")
	}
	v.sealed = v.sealed || row.AuditHash != ""
	switch logged := v.witnessed.Rows[at]; {
	case len(logged) == 0:
		v.unlogged(at, row.Time, "the row")
	case !slices.Contains(logged, row.Hash):
		v.tell(at, "the broadcaster logged another hash when it appended it")
	case len(logged) > 1:
		v.tell(at, "it was appended %d times with different hashes: the table was restored in between", len(logged))
	}
	if len(v.witnessed.Rows[at]) > 0 {
		v.Witnessed++
	}
	v.Rows++
	v.Head = invalidation.Position{Revision: at, Hash: row.Hash}
}

// unlogged tells of what nobody logged, unless it is of before the first line that was read, or its line may be on its way.
func (v *verifying) unlogged(revision int64, when time.Time, what string) {
	switch since := v.witnessed.Since; {
	case since.IsZero() || when.Before(since):
	case v.now.Sub(when) < arrives:
		v.Unlogged++
	default:
		v.tell(revision, "%s was not logged: somebody else wrote it, or its process was killed at that moment", what)
	}
}

// end compares the head with what was logged after it.
func (v *verifying) end() {
	last := v.Head.Revision
	for revision := range v.witnessed.Rows {
		last = max(last, revision)
	}
	if last > v.Head.Revision {
		v.tell(last, "the broadcaster logged it, and the log ends at revision %d", v.Head.Revision)
	}
}

// commands compares the records of commands with what was logged.
func (v *verifying) commands(kept []invalidation.Command) {
	missing := maps.Clone(v.witnessed.Commands)
	for _, c := range kept {
		logged, known := missing[c.RequestID]
		delete(missing, c.RequestID)
		switch {
		case !known:
			v.unlogged(0, c.At, fmt.Sprintf("the command %s of %s", c.Name, c.RequestID))
			continue
		case !logged.At.Equal(c.At):
			v.tell(0, "the command %s of %s was logged at another time", c.Name, c.RequestID)
		case logged.Name != c.Name || logged.About != c.About || logged.By != c.By || logged.Reason != c.Reason:
			v.tell(0, "the command %s of %s was logged with another name, object, person or reason", c.Name, c.RequestID)
		}
		v.Commands++
	}
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		v.tell(0, "the command %s of %s was logged, and its record is missing", missing[id].Name, id)
	}
}
