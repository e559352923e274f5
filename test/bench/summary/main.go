// Command summary passes the output of go test -bench on and ends it with one line for each benchmark that was compared
// with something: what it takes, what its baseline takes, the difference and the ratio.
//
//	go test -run '^$' -bench . ./test/bench | go run ./test/bench/summary
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
)

func main() {
	if err := summarise(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
}

func summarise(in io.Reader, out io.Writer) error {
	var (
		lines  = bufio.NewScanner(in)
		rows   []string
		failed bool
	)
	for lines.Scan() {
		line := lines.Text()
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
		failed = failed || strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "--- FAIL")
		if row := rowOf(line); row != "" {
			rows = append(rows, row)
		}
	}
	switch {
	case lines.Err() != nil:
		return fmt.Errorf("reading the output of go test: %w", lines.Err())
	case failed:
		return errors.New("a benchmark failed")
	case len(rows) == 0:
		return errors.New("no benchmark was compared with anything")
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	header := "\nbenchmark\ttakes\tbaseline\tadds\tratio\n"
	if _, err := io.WriteString(table, header+strings.Join(rows, "\n")+"\n"); err != nil {
		return err
	}
	return table.Flush()
}

// rowOf makes a row of a benchmark's result, or "" of a line that is none
// (https://pkg.go.dev/golang.org/x/perf/benchfmt: a name, how many iterations, then values with their units).
func rowOf(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
		return ""
	}
	var takes, baseline, adds, ratio string
	for i := 2; i+1 < len(fields); i += 2 {
		value, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return ""
		}
		unit := fields[i+1]
		of, isTime := strings.CutPrefix(unit, "ns/")
		to, isRatio := strings.CutPrefix(unit, "x-")
		switch {
		case unit == "ns/op":
			takes = short(value)
		case unit == "ns-added":
			adds = short(value)
		case isTime:
			baseline = of + " " + short(value)
		case isRatio:
			ratio = fmt.Sprintf("%.2f x %s", value, to)
		}
	}
	if baseline == "" {
		return ""
	}
	name := strings.TrimPrefix(fields[0], "Benchmark")
	if dash := strings.LastIndexByte(name, '-'); dash > 0 {
		name = name[:dash] // what follows is GOMAXPROCS
	}
	return strings.TrimRight(strings.Join([]string{name, takes, baseline, adds, ratio}, "\t"), "\t")
}

// short is a number of nanoseconds with three digits.
func short(ns float64) string {
	for _, unit := range []struct {
		name string
		size float64
	}{{"s", 1e9}, {"ms", 1e6}, {"µs", 1e3}, {"ns", 1}} {
		switch n := ns / unit.size; {
		case math.Abs(n) >= 100:
			return fmt.Sprintf("%.0f %s", n, unit.name)
		case math.Abs(n) >= 1:
			return fmt.Sprintf("%.3g %s", n, unit.name)
		}
	}
	return "0 ns"
}
