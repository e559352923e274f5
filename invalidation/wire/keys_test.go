package wire_test

import (
	"fmt"
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

func TestReportsAreSpreadOverPartitions(t *testing.T) {
	const environment = "7f3c0000000000000000000000000001"
	if got, want := wire.ReportPartition(environment), "report#9"; got != want {
		t.Errorf("got %s, want %s, as every client has it", got, want)
	}
	all, used := wire.AllReportPartitions(), map[string]int{}
	for i := range 1000 {
		used[wire.ReportPartition(fmt.Sprint(i))]++
	}
	for _, partition := range all {
		if n := used[partition]; n < 20 {
			t.Errorf("%s has %d of 1000 reports", partition, n)
		}
	}
	if len(all) != wire.ReportPartitions || len(used) != len(all) {
		t.Errorf("%d partitions of %d are used", len(used), len(all))
	}
	if got, want := wire.ReportKey("payments-api", environment), "payments-api#"+environment; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
