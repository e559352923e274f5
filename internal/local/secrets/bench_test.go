package secrets_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
)

func BenchmarkGetSecretValue(b *testing.B) {
	b.Run("call", func(b *testing.B) {
		m := secrets.New(secrets.Config{})
		create(m, "v1")
		b.ReportAllocs()
		for b.Loop() {
			must(m.GetSecretValue(secrets.GetSecretValueInput{SecretID: name}))
		}
	})
	b.Run("lagged call in a history of 1000", func(b *testing.B) {
		m := secrets.New(secrets.Config{Lag: func(secrets.Read) time.Duration { return time.Nanosecond }})
		create(m, "v1")
		for range 1000 {
			put(m, "v")
		}
		b.ReportAllocs()
		for b.Loop() {
			must(m.GetSecretValue(secrets.GetSecretValueInput{SecretID: name}))
		}
	})
	b.Run("in process", func(b *testing.B) {
		m := secrets.New(secrets.Config{})
		create(m, "v1")
		transport := m.RoundTripper()
		b.ReportAllocs()
		for b.Loop() {
			if answer, err := transport.RoundTrip(request(b, "GetSecretValue", `{"SecretId":"`+name+`"}`)); err != nil || answer.StatusCode != http.StatusOK {
				b.Fatal(answer, err)
			}
		}
	})
}

func BenchmarkPutSecretValue(b *testing.B) {
	m := secrets.New(secrets.Config{})
	create(m, "v1")
	b.ReportAllocs()
	for b.Loop() {
		put(m, "v")
	}
}
