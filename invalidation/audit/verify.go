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
	if !bytes.Contains(line, []byte(`"appended"`)) && !bytes.Contains(line, []byte(`"a command was carried out"`)) {
		return
	}
	var is struct {
		Msg, Hash, Command, By, Reason, RequestID string
		Revision                                  int64
	}
	if json.Unmarshal(line, &is) != nil {
		return
	}
	switch is.Msg {
	case "appended":
		if !slices.Contains(w.Rows[is.Revision], is.Hash) {
			w.Rows[is.Revision] = append(w.Rows[is.Revision], is.Hash)
		}
	case "a command was carried out":
		w.Commands[is.RequestID] = invalidation.Command{Name: is.Command, By: is.By, Reason: is.Reason, RequestID: is.RequestID}
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
	// Unlogged are revisions newer than the first one that was logged and not logged themselves: the process was killed just
	// then, the line has not arrived yet, or it was not the broadcaster who appended.
	Unlogged []int64 `json:"unlogged,omitempty"`
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

// Verify walks the log from its first row to its head: each row is what its hash was made of, names the hash of the row
// before and stands where its revision says; its audit record is what the row says; it was logged with this hash, and
// nothing was logged that is not there. Its memory grows with what was witnessed only. An error means that the store could
// not be read to its end.
func Verify(ctx context.Context, store Store, witnessed Witnessed) (Verified, error) {
	v := Verified{Problems: []Problem{}}
	for row, err := range store.Rows(ctx, history.Span{}) {
		if err != nil {
			return v, err
		}
		v.row(row, witnessed)
	}
	v.end(witnessed)
	commands, err := store.Commands(ctx)
	if err != nil {
		return v, fmt.Errorf("reading the commands: %w", err)
	}
	v.commands(commands, witnessed)
	return v, nil
}

// row goes on with the next row.
func (v *Verified) row(row history.Row, witnessed Witnessed) {
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
	case row.AuditHash == "":
		v.Unsealed++
	case row.Record == nil:
		v.tell(at, "its audit record is missing")
	case wire.Verify(row.Record, row.AuditHash) != nil:
		v.tell(at, "its audit record is not the one that was written with it")
	}
	switch logged := witnessed.Rows[at]; {
	case len(logged) == 0 && v.Witnessed > 0 && len(v.Unlogged) < maxProblems:
		v.Unlogged = append(v.Unlogged, at)
	case len(logged) == 0: // of before the lines that were read
	case !slices.Contains(logged, row.Hash):
		v.tell(at, "the broadcaster logged another hash when it appended it")
		v.Witnessed++
	case len(logged) > 1:
		v.tell(at, "it was appended %d times with different hashes: the table was restored in between", len(logged))
		v.Witnessed++
	default:
		v.Witnessed++
	}
	v.Rows++
	v.Head = invalidation.Position{Revision: at, Hash: row.Hash}
}

// end compares the head with what was logged after it.
func (v *Verified) end(witnessed Witnessed) {
	last := v.Head.Revision
	for revision := range witnessed.Rows {
		last = max(last, revision)
	}
	if last > v.Head.Revision {
		v.tell(last, "the broadcaster logged it, and the log ends at revision %d", v.Head.Revision)
	}
}

// commands compares the records of commands with what was logged, as far back as that goes.
func (v *Verified) commands(kept []invalidation.Command, witnessed Witnessed) {
	missing := map[string]bool{}
	for id := range witnessed.Commands {
		missing[id] = true
	}
	compared := false
	for _, c := range kept {
		logged, known := witnessed.Commands[c.RequestID]
		delete(missing, c.RequestID)
		switch {
		case !known && !compared: // of before the lines that were read
		case !known:
			v.tell(0, "the command %s of %s was not logged", c.Name, c.RequestID)
		case logged.Name != c.Name || logged.By != c.By || logged.Reason != c.Reason:
			v.tell(0, "the command %s of %s was logged with another name, person or reason", c.Name, c.RequestID)
		}
		if known {
			compared = true
			v.Commands++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		v.tell(0, "the command %s of %s was logged, and its record is missing", witnessed.Commands[id].Name, id)
	}
}
