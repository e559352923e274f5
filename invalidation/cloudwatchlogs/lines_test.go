package cloudwatchlogs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/bank-platform/secret-broadcaster/internal/awstest"
	"github.com/bank-platform/secret-broadcaster/invalidation/cloudwatchlogs"
)

// TestLines reads every line of a third party's CloudWatch Logs that a pattern matches, and says which log
// group cannot be read.
func TestLines(t *testing.T) {
	on, _ := awstest.Config(t)
	client := sdk.NewFromConfig(on)
	group, stream := aws.String("/aws/lambda/lines"), aws.String("stream")
	if _, err := client.CreateLogGroup(t.Context(), &sdk.CreateLogGroupInput{LogGroupName: group}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateLogStream(t.Context(), &sdk.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}); err != nil {
		t.Fatal(err)
	}
	var events []types.InputLogEvent
	for n := range 250 {
		events = append(events, types.InputLogEvent{
			Timestamp: aws.Int64(time.Now().UnixMilli()), Message: aws.String(fmt.Sprintf(`{"msg":"appended","revision":%d}`, n)),
		})
	}
	if _, err := client.PutLogEvents(t.Context(), &sdk.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: events}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line, err := range cloudwatchlogs.Lines(t.Context(), client, *group, "appended") {
		if want := *events[n].Message; err != nil || line != want {
			t.Fatalf("line %d: got %s, %v", n, line, err)
		}
		n++
	}
	if n != len(events) {
		t.Errorf("%d lines, want %d", n, len(events))
	}
	for _, err := range cloudwatchlogs.Lines(t.Context(), client, *group, "appended") {
		if err != nil {
			t.Error(err)
		}
		break // whoever has seen enough is not asked again
	}
	for line, err := range cloudwatchlogs.Lines(t.Context(), client, *group+"-other", "appended") {
		if err == nil || !strings.Contains(err.Error(), "reading log group "+*group+"-other: ") {
			t.Errorf("of a group that is not there: %s, %v", line, err)
		}
	}
}
