package infra

import (
	"fmt"
	"strings"
	"testing"
)

// US dollars, list prices of us-east-1, for what docs/deploying.md counts. They are to be checked before they are quoted.
const (
	readUnit      = 0.125 / 1e6 // DynamoDB on demand
	writeUnit     = 0.625 / 1e6
	describe      = 0.05 / 1e4 // any call of Secrets Manager
	invocation    = 0.20 / 1e6
	gigabyteTime  = 0.0000133334 // a second of Lambda on arm64
	queueRequest  = 0.40 / 1e6
	alarmMonth    = 0.10
	metricMonth   = 0.30
	logGigabyte   = 0.50
	secretMonth   = 0.40
	secondsPerDay = 86400
)

// costs returns what a domain of so many functions costs a month, by what it is for.
func costs(functions, alarms, metrics float64) []float64 {
	const days, environments, busy, checkEvery, ticks, runs = 30, 5, 0.2, 2, 30 * 288, 30 * 96 // of the canary
	secrets := 2 * functions
	changes := secrets // each is rotated once a month
	return []float64{
		functions * environments * busy * days * secondsPerDay / checkEvery * readUnit,
		functions * environments * (4*days + changes) * 2 * writeUnit,
		changes*20*writeUnit + (ticks+changes)*(invocation+0.5*gigabyteTime) + (5*3*60*24*days+8*3*changes)*queueRequest,
		(secrets*days + 3*changes + ticks*(1+secrets/100)) * describe,
		runs*(functions*environments*2+20)*writeUnit + runs*(invocation+0.5*gigabyteTime) + runs*(invocation+5*0.25*gigabyteTime) +
			8*3*runs*queueRequest + (3+4)*runs*describe + secretMonth,
		alarms*alarmMonth + metrics*metricMonth + (ticks+10*(changes+runs))*4/1e6*logGigabyte,
	}
}

// TestCostsAreThoseOfTheFormula: docs/deploying.md has the formula in words; its figures are these.
func TestCostsAreThoseOfTheFormula(t *testing.T) {
	alarms := len(domain(t, "payments").of("AWS::CloudWatch::Alarm"))
	lines := []string{"reads of the log", "reports", "the broadcaster: writes, time, queue", "calls of Secrets Manager", "the canary", "alarms, metrics, log", "**together**"}
	table := "| a month, in US dollars | 10 functions | 100 functions | 1,000 functions |\n|---|---|---|---|\n"
	columns := make([][]float64, 0, 3)
	for _, functions := range []float64{10, 100, 1000} {
		column := costs(functions, float64(alarms), float64(len(metrics())))
		sum := 0.0
		for _, cost := range column {
			sum += cost
		}
		columns = append(columns, append(column, sum))
	}
	for i, line := range lines {
		table += fmt.Sprintf("| %s | %.2f | %.2f | %.2f |\n", line, columns[0][i], columns[1][i], columns[2][i])
	}
	if !strings.Contains(string(fileIn(t, root, "docs/deploying.md")), table) {
		t.Errorf("docs/deploying.md does not have this table:\n%s", table)
	}
	if says := fmt.Sprintf("%d alarms and %d metrics", alarms, len(metrics())); !strings.Contains(string(fileIn(t, root, "docs/deploying.md")), says) {
		t.Errorf("docs/deploying.md does not say %q", says)
	}
}

// TestEveryParameterIsDocumented: in docs/deploying.md, and none that there is not.
func TestEveryParameterIsDocumented(t *testing.T) {
	text := string(fileIn(t, root, "docs/deploying.md"))
	_, rest, _ := strings.Cut(text, "| parameter |")
	rows, _, _ := strings.Cut(rest, "\n\n")
	set := map[string]bool{"Env": true, "Domain": true, "ArtifactBucket": true, "ArtifactKey": true} // by make deploy itself
	for _, file := range []string{"domain.yaml", "platform.yaml"} {
		for name, declared := range template(t, file)["Parameters"].(tree) {
			if description, _ := declared.(tree)["Description"].(string); len(description) < 20 {
				t.Errorf("%s: %s has no description", file, name)
			}
			constraints := []string{"AllowedPattern", "AllowedValues", "MinValue"}
			constrained := declared.(tree)["Type"] == "CommaDelimitedList"
			for _, c := range constraints {
				constrained = constrained || declared.(tree)[c] != nil
			}
			if !constrained {
				t.Errorf("%s: %s takes anything", file, name)
			}
			if !set[name] && !strings.Contains(rows, "`"+name+"`") {
				t.Errorf("%s: %s is not in docs/deploying.md", file, name)
			}
		}
	}
}

// TestWhatTheFunctionIsTold: parameters that are the function's own reach it, and it knows each variable.
func TestWhatTheFunctionIsTold(t *testing.T) {
	told := domain(t, "payments", "MaxPushes", "7", "LogLevel", "debug").resources["Function"].Properties["Environment"].(tree)["Variables"].(tree)
	if fmt.Sprint(told["BROADCASTER_MAX_PUSHES"]) != "7" || told["BROADCASTER_LOG_LEVEL"] != "debug" {
		t.Errorf("it is told %v", told)
	}
	knows := string(fileIn(t, root, "cmd/broadcaster/README.md")) // which a test holds to the code
	for name := range told {
		if !strings.Contains(knows, "| `"+name+"` |") {
			t.Errorf("it does not know %s", name)
		}
	}
}
