package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// Reports reads what environments have reported. It is safe for concurrent use.
type Reports struct {
	client *dynamodb.Client
	table  string
}

var _ invalidation.Reports = (*Reports)(nil)

// NewReports returns the reports in a table.
func NewReports(client *dynamodb.Client, table string) *Reports { return &Reports{client, table} }

// Of implements invalidation.Reports.
func (r *Reports) Of(ctx context.Context, service string) ([]wire.Report, error) {
	return r.all(ctx, wire.ReportKey(service, ""), func(report wire.Report) bool { return report.Service == service })
}

// All implements invalidation.Reports.
func (r *Reports) All(ctx context.Context) ([]wire.Report, error) {
	return r.all(ctx, "", func(wire.Report) bool { return true })
}

// all returns the reports whose sort key begins with the prefix: one Query per partition, since environments are spread
// over all.
func (r *Reports) all(ctx context.Context, prefix string, wanted func(wire.Report) bool) ([]wire.Report, error) {
	var (
		partitions = wire.AllReportPartitions()
		wg         sync.WaitGroup
		found      = make([][]wire.Report, len(partitions))
		errs       = make([]error, len(partitions))
		all        []wire.Report
	)
	for i, partition := range partitions {
		wg.Go(func() { found[i], errs[i] = r.in(ctx, partition, prefix, wanted) })
	}
	wg.Wait()
	for _, reports := range found {
		all = append(all, reports...)
	}
	return all, errors.Join(errs...)
}

func (r *Reports) in(ctx context.Context, partition, prefix string, wanted func(wire.Report) bool) ([]wire.Report, error) {
	condition, values := "pk = :pk", item{":pk": text(partition)}
	if prefix != "" {
		condition += " AND begins_with(sk, :prefix)"
		values[":prefix"] = text(prefix)
	}
	var all []wire.Report
	pages := dynamodb.NewQueryPaginator(r.client, &dynamodb.QueryInput{
		TableName: &r.table, KeyConditionExpression: &condition, ExpressionAttributeValues: values,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading %s of table %s: %w", partition, r.table, err)
		}
		for _, i := range page.Items {
			var report wire.Report
			// Anybody with the clients' role can write here: what is no report proves nothing.
			if contentOf(i, &report) == nil && wanted(report) {
				all = append(all, report)
			}
		}
	}
	return all, nil
}
