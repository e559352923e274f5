package audit

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// WriteJSONLines writes one JSON object per record and line.
func WriteJSONLines(out io.Writer, records iter.Seq2[Record, error]) error {
	encoder := json.NewEncoder(out)
	for r, err := range records {
		if err != nil {
			return err
		}
		if err := encoder.Encode(r); err != nil {
			return fmt.Errorf("writing a record: %w", err)
		}
	}
	return nil
}

// columns are those of WriteCSV.
func columns() []string {
	return []string{
		"time", "record", "secret", "kind", "version", "changed", "revision", "hash", "event", "cause", "actor", "event time",
		"service", "function", "outcome", "reason", "attempts", "outcome time", "environment", "verified", "command", "about", "by", "why", "request",
	}
}

// WriteCSV writes a header and then a line per change and delivery, and one per command, for a spreadsheet: a cell that one
// would take for a formula begins with an apostrophe.
func WriteCSV(out io.Writer, records iter.Seq2[Record, error]) error {
	table := csv.NewWriter(out)
	if err := table.Write(columns()); err != nil {
		return fmt.Errorf("writing the header: %w", err)
	}
	for r, err := range records {
		if err != nil {
			return err
		}
		for _, line := range r.lines() {
			for i, cell := range line {
				line[i] = plain(cell)
			}
			if err := table.Write(line); err != nil {
				return fmt.Errorf("writing a record: %w", err)
			}
		}
	}
	table.Flush()
	if err := table.Error(); err != nil {
		return fmt.Errorf("writing the records: %w", err)
	}
	return nil
}

// plain takes a cell's power to be a formula
// (https://owasp.org/www-community/attacks/CSV_Injection).
func plain(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// lines are a record's lines of a table.
func (r Record) lines() [][]string {
	head := []string{stamp(r.Time)}
	if c := r.Command; c != nil {
		blank := make([]string, len(columns())-7)
		return [][]string{append(append(append(head, "command"), blank...), c.Name, c.About, c.By, c.Reason, c.RequestID)}
	}
	c := r.Change
	head = append(head, "change", c.Name, string(c.Kind), c.VersionID, stamp(c.At), strconv.FormatInt(c.Revision, 10), c.Hash)
	head = append(head, c.Cause().line()...)
	if len(c.Deliveries) == 0 {
		return [][]string{append(head, make([]string, len(columns())-len(head))...)}
	}
	var lines [][]string
	for _, d := range c.Deliveries {
		line := append(head[:len(head):len(head)], d.Subscription, d.Function, string(d.Outcome), string(d.Reason), strconv.Itoa(d.Attempts), stamp(d.Time))
		line = append(line, c.proof(d)...)
		lines = append(lines, append(line, make([]string, len(columns())-len(line))...))
	}
	return lines
}

// A Told is who or what told of a change.
type Told invalidation.Cause

func (t Told) line() []string {
	return []string{t.EventID, t.DetailType, t.Actor, stamp(t.EventTime)}
}

// Cause is what told of the change first: of a revision with several changes, of one of them. The zero Told if it is not
// known.
func (c Change) Cause() Told {
	if len(c.Causes) == 0 {
		return Told{}
	}
	return Told(c.Causes[0])
}

// proof says which environment acknowledged a delivery, and whether it has used the new version.
func (c Change) proof(d invalidation.Delivery) []string {
	if d.Ack == nil {
		return []string{"", ""}
	}
	return []string{d.Ack.Environment, strconv.FormatBool(c.verified(d.Ack))}
}

func (c Change) verified(ack *wire.Ack) bool {
	for _, s := range ack.Secrets {
		if s.Name == c.Name {
			return s.Verified
		}
	}
	return false
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
