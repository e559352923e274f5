package secretcacheaws

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// keepReports is how long a report stays: an environment that is frozen writes none, and one that is gone never again.
const keepReports = 24 * time.Hour

// reports writes to the reports table.
type reports struct {
	tables *tables
	table  string
}

var _ secretcache.Reports = (*reports)(nil)

// putItem is a request of PutItem
// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html).
type putItem struct {
	TableName string
	Item      map[string]value
}

// Put implements secretcache.Reports.
func (r *reports) Put(ctx context.Context, report wire.Report) error {
	data, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	var answer struct{}
	_, err = r.tables.call(ctx, "PutItem", r.table, putItem{r.table, map[string]value{
		"pk":       text(wire.ReportPartition(report.Environment)),
		"sk":       text(wire.ReportKey(report.Service, report.Environment)),
		"data":     text(string(data)),
		"service":  text(report.Service),
		"revision": number(strconv.FormatInt(report.Revision, 10)),
		"ttl":      number(strconv.FormatInt(time.Now().Add(keepReports).Unix(), 10)),
	}}, &answer)
	return err
}
