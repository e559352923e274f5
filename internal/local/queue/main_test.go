package queue_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

// The test binary is also the function, when a host starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		lambda.Start(handle)
		return
	}
	os.Exit(m.Run())
}

// handle calls the address in each first-time message's body and waits there to be let go on.
func handle(_ context.Context, event events.SQSEvent) (events.SQSEventResponse, error) {
	for _, record := range event.Records {
		if record.Attributes["ApproximateReceiveCount"] != "1" {
			continue
		}
		conn, err := net.Dial("tcp", record.Body)
		if err != nil {
			return events.SQSEventResponse{}, err
		}
		defer conn.Close()
		if _, err := fmt.Fprintln(conn, record.MessageId); err != nil {
			return events.SQSEventResponse{}, err
		}
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			return events.SQSEventResponse{}, err
		}
	}
	return events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}, nil
}
