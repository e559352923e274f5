package invalidation_test

import (
	"encoding/json"
	"testing"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// ackOf is the answer of an environment that has read the log up to a row.
func ackOf(row wire.Row) wire.Ack {
	return wire.Ack{
		Schema: wire.Schema, Client: "test/1", Service: "payments-api", Environment: "environment-1", Revision: row.Revision, Hash: row.Hash,
	}
}

func encoded(t *testing.T, message any) []byte {
	t.Helper()
	text, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
