package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheSummaryFollowsTheOutput(t *testing.T) {
	in := `goos: linux
BenchmarkHit/callers=1-2   	     100	        51.25 ns/op	         0 allocs/op	        47.17 ns/time.Now	         4.08 ns-added	         1.087 x-time.Now
BenchmarkAlone-2           	     100	        51.25 ns/op
BenchmarkStart-2           	     284	  10397734 ns/op	   3196992 ns-added	   7019108 ns/hello	         1.475 x-hello
PASS
`
	want := in + `
benchmark       takes     baseline           adds      ratio
Hit/callers=1   51.2 ns   time.Now 47.2 ns   4.08 ns   1.09 x time.Now
Start           10.4 ms   hello 7.02 ms      3.2 ms    1.48 x hello
`
	var out strings.Builder
	if err := summarise(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNothingMeasuredIsAnError(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":      "PASS\n",
		"failed":       "--- FAIL: BenchmarkStart\nBenchmarkHit-2 1 5 ns/op 4 ns/time.Now\nFAIL\n",
		"not compared": "BenchmarkAlone-2 100 51.25 ns/op\n",
	} {
		if err := summarise(strings.NewReader(in), new(strings.Builder)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
