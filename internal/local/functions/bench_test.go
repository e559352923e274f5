//go:build linux

package functions_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
)

// BenchmarkInvoke is one warm invocation after the other: until the answer, which with freezing includes the next freeze.
func BenchmarkInvoke(b *testing.B) {
	for name, noFreeze := range map[string]bool{"frozen between": false, "not frozen": true} {
		h := newHost(b, functions.Config{})
		deploy(b, h, functions.Function{Name: "payments-api", NoFreeze: noFreeze})
		invoke(b, h, "payments-api", event{})
		b.Run("directly/"+name, func(b *testing.B) {
			for b.Loop() {
				invoke(b, h, "payments-api", event{})
			}
		})
		api := client(h)
		b.Run("over the API/"+name, func(b *testing.B) {
			for b.Loop() {
				in := &lambda.InvokeInput{FunctionName: aws.String("payments-api"), Payload: []byte(`{}`)}
				if _, err := api.Invoke(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkColdStart is a new environment: from the call to the answer of its first invocation.
func BenchmarkColdStart(b *testing.B) {
	h := newHost(b, functions.Config{})
	deploy(b, h, functions.Function{Name: "payments-api"})
	for b.Loop() {
		r := invoke(b, h, "payments-api", event{})
		if err := h.Kill(r.Environment); err != nil {
			b.Fatal(err)
		}
	}
}
