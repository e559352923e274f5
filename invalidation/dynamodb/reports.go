package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
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

// Of implements invalidation.Reports: one Query per partition, since a service's environments are spread over all.
func (r *Reports) Of(ctx context.Context, service string) ([]wire.Report, error) {
	var (
		partitions = wire.AllReportPartitions()
		wg         sync.WaitGroup
		found      = make([][]wire.Report, len(partitions))
		errs       = make([]error, len(partitions))
		all        []wire.Report
	)
	for i, partition := range partitions {
		wg.Go(func() { found[i], errs[i] = r.in(ctx, partition, service) })
	}
	wg.Wait()
	for _, reports := range found {
		all = append(all, reports...)
	}
	return all, errors.Join(errs...)
}

func (r *Reports) in(ctx context.Context, partition, service string) ([]wire.Report, error) {
	var all []wire.Report
	pages := dynamodb.NewQueryPaginator(r.client, &dynamodb.QueryInput{
		TableName: &r.table, KeyConditionExpression: aws.String("pk = :pk AND begins_with(sk, :service)"),
		ExpressionAttributeValues: item{":pk": text(partition), ":service": text(wire.ReportKey(service, ""))},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading %s of table %s: %w", partition, r.table, err)
		}
		for _, i := range page.Items {
			var report wire.Report
			if contentOf(i, &report) != nil || report.Service != service {
				continue // anybody with the clients' role can write here: what is no report proves nothing
			}
			all = append(all, report)
		}
	}
	return all, nil
}
