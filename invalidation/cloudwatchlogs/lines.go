// Package cloudwatchlogs reads what a function has logged. It is an edge: the AWS SDK stops here.
package cloudwatchlogs

import (
	"context"
	"fmt"
	"iter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

// Lines returns the lines of a log group that a filter pattern matches, one after another
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html). It ends with the first error.
func Lines(ctx context.Context, client *cloudwatchlogs.Client, group, pattern string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		pages := cloudwatchlogs.NewFilterLogEventsPaginator(client, &cloudwatchlogs.FilterLogEventsInput{
			LogGroupName: &group, FilterPattern: &pattern,
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield("", fmt.Errorf("reading log group %s: %w", group, err))
				return
			}
			for _, e := range page.Events {
				if !yield(aws.ToString(e.Message), nil) {
					return
				}
			}
		}
	}
}
