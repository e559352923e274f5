package tables

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// journalName is the file in Config.Dir.
const journalName = "tables.journal"

// entry is one committed write: one line of the journal.
type entry struct {
	Create  *spec    `json:"create,omitempty"`
	Drop    string   `json:"drop,omitempty"`
	TTL     *ttl     `json:"ttl,omitempty"`
	Changes []change `json:"changes,omitempty"`
	Token   *token   `json:"token,omitempty"`
	Restore []dump   `json:"restore,omitempty"`
}

// ttl is the time-to-live setting of a table; an empty attribute is off.
type ttl struct {
	Table     string `json:"table"`
	Attribute string `json:"attribute"`
}

// change stores one item or removes one; Delete is a key.
type change struct {
	Table  string `json:"table"`
	Put    item   `json:"put,omitempty"`
	Delete item   `json:"delete,omitempty"`
}

// dump is a whole table.
type dump struct {
	Spec  spec   `json:"spec"`
	Items []item `json:"items"`
}

// token remembers a ClientRequestToken that has been used.
type token struct {
	ID   string    `json:"id"`
	Hash string    `json:"hash"`
	At   time.Time `json:"at"`
}

// journal is the append-only file of entries. A line counts once its newline
// is on disk.
type journal struct {
	file   *os.File
	end    int64 // length of the committed part
	broken error // set when the file's state is no longer known
}

// openJournal replays what is there and leaves the file ready for the next
// line.
func openJournal(path string, apply func(entry) error) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	if err := j.recover(apply); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

func (j *journal) recover(apply func(entry) error) error {
	if err := lock(j.file); err != nil {
		return fmt.Errorf("locking the journal (another process has it open?): %w", err)
	}
	if err := j.replay(apply); err != nil {
		return err
	}
	// What follows the last newline was being written when the process ended.
	if err := j.file.Truncate(j.end); err != nil {
		return fmt.Errorf("dropping the unfinished line: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("syncing the journal: %w", err)
	}
	return syncDir(filepath.Dir(j.file.Name()))
}

func (j *journal) replay(apply func(entry) error) error {
	r := bufio.NewReaderSize(j.file, 1<<16)
	for line := 1; ; line++ {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		var e entry
		if err := json.Unmarshal(text, &e); err != nil {
			return fmt.Errorf("reading line %d of the journal: %w", line, err)
		}
		if err := apply(e); err != nil {
			return fmt.Errorf("replaying line %d of the journal: %w", line, err)
		}
		j.end += int64(len(text))
	}
}

// append writes one line and waits until it is on disk. If that fails nothing
// of it stays; if even that cannot be made sure of, the journal takes no more.
func (j *journal) append(e entry) error {
	if j.broken != nil {
		return j.broken
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding a journal line: %w", err)
	}
	line = append(line, '\n')
	if _, err := j.file.WriteAt(line, j.end); err != nil {
		if undo := j.file.Truncate(j.end); undo != nil {
			j.broken = fmt.Errorf("taking back half a journal line: %w", undo)
		}
		return fmt.Errorf("writing the journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		// After a failed sync the kernel may have dropped the pages; what is on
		// disk is unknown until the file is read again.
		j.broken = fmt.Errorf("syncing the journal: %w", err)
		return j.broken
	}
	j.end += int64(len(line))
	return nil
}

func (j *journal) close() error { return j.file.Close() }

// syncDir makes a new file's name durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening the directory of the journal: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing the directory of the journal: %w", err)
	}
	return nil
}
