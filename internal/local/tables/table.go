package tables

import (
	"slices"
	"sort"
	"strings"
	"time"
)

const (
	maxHashKeyBytes = 2048
	maxSortKeyBytes = 1024
	maxItemBytes    = 400 << 10
)

// keyAttribute is one attribute of a primary key.
type keyAttribute struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // S or N
}

// spec is what CreateTable fixes. Sort is nil for a table with a hash key
// only.
type spec struct {
	Name    string        `json:"name"`
	Hash    keyAttribute  `json:"hash"`
	Sort    *keyAttribute `json:"sort,omitempty"`
	Created time.Time     `json:"created"`
}

// key is where an item lies: the text of its hash key, and its sort key (the
// zero value without one).
type key struct {
	hash string
	sort value
}

// keyOf takes the key out of a whole item.
func (s *spec) keyOf(it item) (key, error) {
	for _, a := range s.attributes() {
		v, ok := it[a.Name]
		if !ok {
			return key{}, invalid("One or more parameter values were invalid: Missing the key %s in the item", a.Name)
		}
		if v.kind != a.Kind {
			return key{}, invalidItem("One or more parameter values were invalid: Type mismatch for key %s expected: %s actual: %s", a.Name, a.Kind, v.kind)
		}
	}
	return s.checked(it)
}

// exactKey takes the key out of a Key parameter, which holds nothing else.
func (s *spec) exactKey(it item) (key, error) {
	mismatch := invalidItem("The provided key element does not match the schema")
	if len(it) != len(s.attributes()) {
		return key{}, mismatch
	}
	for _, a := range s.attributes() {
		if it[a.Name].kind != a.Kind {
			return key{}, mismatch
		}
	}
	return s.checked(it)
}

// checked reads a key whose attributes are known to be there.
func (s *spec) checked(it item) (key, error) {
	for _, a := range s.attributes() {
		if err := notEmpty(a.Name, it[a.Name]); err != nil {
			return key{}, err
		}
	}
	k := key{hash: it[s.Hash.Name].text}
	if s.Sort != nil {
		k.sort = it[s.Sort.Name]
	}
	if len(k.hash) > maxHashKeyBytes {
		return key{}, invalid("One or more parameter values were invalid: Aggregated size of all hash keys has exceeded the size limit of 2048 bytes")
	}
	if len(k.sort.text) > maxSortKeyBytes {
		return key{}, invalid("One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
	}
	return k, nil
}

func notEmpty(name string, v value) error {
	if v.text != "" {
		return nil
	}
	return invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: %s", name)
}

func (s *spec) attributes() []keyAttribute {
	if s.Sort == nil {
		return []keyAttribute{s.Hash}
	}
	return []keyAttribute{s.Hash, *s.Sort}
}

func (s *spec) isKey(attribute string) bool {
	return attribute == s.Hash.Name || s.Sort != nil && attribute == s.Sort.Name
}

// keyItem is the key attributes of an item alone.
func (s *spec) keyItem(it item) item {
	out := make(item, 2)
	for _, a := range s.attributes() {
		out[a.Name] = it[a.Name]
	}
	return out
}

// row is a stored item with what a query needs of it.
type row struct {
	sort value
	item item
	size int
}

// table holds the rows of one table by hash key, sorted within it.
type table struct {
	spec
	ttl        string // attribute of the time to live, empty if off
	partitions map[string][]row
	count      int
	bytes      int
}

func newTable(s spec) *table {
	return &table{spec: s, partitions: make(map[string][]row)}
}

func (t *table) get(k key) item {
	rows := t.partitions[k.hash]
	if i, found := search(rows, k.sort); found {
		return rows[i].item
	}
	return nil
}

func (t *table) put(k key, it item) {
	rows := t.partitions[k.hash]
	r := row{sort: k.sort, item: it, size: it.size()}
	i, found := search(rows, k.sort)
	if found {
		t.bytes += r.size - rows[i].size
		rows[i] = r
		return
	}
	t.partitions[k.hash] = slices.Insert(rows, i, r)
	t.count++
	t.bytes += r.size
}

func (t *table) remove(k key) {
	rows := t.partitions[k.hash]
	i, found := search(rows, k.sort)
	if !found {
		return
	}
	t.count--
	t.bytes -= rows[i].size
	if rows = slices.Delete(rows, i, i+1); len(rows) == 0 {
		delete(t.partitions, k.hash)
	} else {
		t.partitions[k.hash] = rows
	}
}

// search finds the row with that sort key, or where it would be.
func search(rows []row, at value) (int, bool) {
	i := lowerBound(rows, at)
	return i, i < len(rows) && compareKeys(rows[i].sort, at) == 0
}

// lowerBound is the first row whose sort key is not before the given one.
func lowerBound(rows []row, at value) int {
	// Rows are mostly appended in order, so the end is looked at first.
	if n := len(rows); n > 0 && compareKeys(rows[n-1].sort, at) < 0 {
		return n
	}
	return sort.Search(len(rows), func(i int) bool { return compareKeys(rows[i].sort, at) >= 0 })
}

// upperBound is the first row whose sort key is after the given one.
func upperBound(rows []row, at value) int {
	return sort.Search(len(rows), func(i int) bool { return compareKeys(rows[i].sort, at) > 0 })
}

func compareKeys(a, b value) int {
	if a.kind == kindNumber && b.kind == kindNumber {
		return compareNumbers(a.text, b.text)
	}
	return strings.Compare(a.text, b.text)
}
