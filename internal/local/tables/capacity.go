package tables

// Read units: one for each started 4 KB of a consistent read, half of that for
// an eventually consistent one; a read that finds nothing costs as the smallest.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
const readUnitBytes = 4 << 10

// consumedCapacity is nil in an answer to a request that did not ask.
type consumedCapacity struct {
	TableName     string
	CapacityUnits float64
	Table         *capacity `json:",omitempty"`
}

type capacity struct{ CapacityUnits float64 }

// readUnits is the cost of reading that many bytes at once.
func readUnits(bytes int, consistent bool) float64 {
	units := float64(max(1, (bytes+readUnitBytes-1)/readUnitBytes))
	if consistent {
		return units
	}
	return units / 2
}

// consumed is the part of an answer that ReturnConsumedCapacity asks for.
func consumed(wanted, table string, units float64) (*consumedCapacity, error) {
	switch wanted {
	case "", "NONE":
		return nil, nil
	case "TOTAL":
		return &consumedCapacity{TableName: table, CapacityUnits: units}, nil
	case "INDEXES":
		return &consumedCapacity{TableName: table, CapacityUnits: units, Table: &capacity{units}}, nil
	}
	return nil, invalid("1 validation error detected: Value '%s' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]", wanted)
}
