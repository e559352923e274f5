package secretcacheaws_test

import "testing"

// BenchmarkConfig is what configuring a client adds to a cold start. What a check takes is measured in test/bench.
func BenchmarkConfig(b *testing.B) {
	cfg := awsConfig("https://tables.test")
	b.ReportAllocs()
	for b.Loop() {
		configFrom(b, cfg)
	}
}
