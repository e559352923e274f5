package wire_test

import (
	"math"
	"slices"
	"testing"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

func TestRevisionKeysSortAsRevisions(t *testing.T) {
	var keys []string
	for _, revision := range []int64{1, 2, 9, 10, 99, 100, 1 << 40, math.MaxInt64 - 1, math.MaxInt64} {
		keys = append(keys, wire.RevisionKey(revision))
	}
	if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
		t.Errorf("not in order: %v", keys)
	}
	if got := wire.RevisionKey(42); got != "0000000000000000042" {
		t.Errorf("got %s", got)
	}
}

func TestReportPartitionIsAHash(t *testing.T) {
	const want = "f9d9a5d2aa9e82d6321bce8c16fb855c36fb045f377c8c293df33a42254f2456"
	if got := wire.ReportPartition("7f3c0000000000000000000000000001"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
