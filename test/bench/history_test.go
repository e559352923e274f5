package bench

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	lambdahost "github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/history/historytest"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	// historyVariable names the variable with the number of changes in the history. Make bench sets it to 100,000; without it
	// there are few, so that the tests need not wait.
	historyVariable = "HISTORY_CHANGES"
	historyDefault  = 1000
	// mostMB is how much memory a command that reads it may take, whatever the number of changes.
	mostMB = 256
)

// BenchmarkHistory is what people's commands take of a domain with a long history, and in how much memory: the program itself,
// in a process of its own. One change in ten secrets' worth of them was delivered to a tenth as many services as there are
// changes, every other one to one.
func BenchmarkHistory(b *testing.B) {
	changes := historyDefault
	if text := os.Getenv(historyVariable); text != "" {
		var err error
		if changes, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	program := filepath.Join(b.TempDir(), "broadcaster")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", program, "../../cmd/broadcaster").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	h := historytest.New(b)
	writeLong(b, h, changes, changes/10)
	env := append(serveHistory(b, h), "PATH="+os.Getenv("PATH"))
	for name, command := range map[string]string{
		"status": "status", "status-secret": "status wide/password", "status-at": "status wide/password --at 1h", "status-service": "status --service service-0",
		"changes": "changes --since 1000h --json", "missed": "missed --since 1000h", "wait": "wait wide/password --within 1s",
		"audit": "audit --format html", "audit-verify": "audit verify --log " + logOf(b, h),
	} {
		b.Run(fmt.Sprintf("%s/changes=%d", name, changes), func(b *testing.B) {
			most := 0.0
			for b.Loop() {
				cmd := exec.CommandContext(b.Context(), program, strings.Fields(command+" --env prod --domain payments")...)
				cmd.Env, cmd.Stdout, cmd.Stderr = env, io.Discard, os.Stderr
				most = max(most, peakOf(b, cmd))
			}
			b.ReportMetric(most, "MB")
			if most == 0 || most > mostMB {
				b.Errorf("%s took %.0f MB, more than %d", command, most, mostMB)
			}
		})
	}
}

// logOf writes what the broadcaster would have logged as it appended, and returns the file.
func logOf(b *testing.B, h *historytest.History) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "log.jsonl")
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	for row, err := range h.Store.Rows(b.Context(), history.Span{}) {
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(file, `{"time":%q,"msg":"appended","revision":%d,"hash":%q}`+"\n", row.Time.Format(time.RFC3339Nano), row.Revision, row.Hash)
	}
	if err := file.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// peakOf runs a command and returns how many megabytes it had at the most, as the kernel has seen until just before its end.
// What it tells at the end, the process's rusage, counts those of the process that started it too.
func peakOf(b *testing.B, cmd *exec.Cmd) (peak float64) {
	b.Helper()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil && cmd.ProcessState.ExitCode() != 3 {
				b.Fatalf("%v: %v", cmd.Args, err)
			}
			return peak
		case <-look.C:
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)) // gone when it ends
			_, rest, _ := strings.Cut(string(status), "VmHWM:")
			kb, _ := strconv.ParseFloat(strings.Fields(rest + " 0")[0], 64)
			if strings.Contains(string(status), "Name:\tbroadcaster\n") { // not yet exec'd: still the one that started it
				peak = max(peak, kb/1000)
			}
		}
	}
}

// writeLong writes a history of so many changes, over a thousand secrets; the newest one was delivered to so many services.
func writeLong(b *testing.B, h *historytest.History, changes, services int) {
	b.Helper()
	began := time.Now().Add(-time.Duration(changes) * time.Second)
	var some []invalidation.Delivery
	for n := range changes - 1 {
		row := h.Moved(fmt.Sprintf("service-%d/password", n%1000), n, began.Add(time.Duration(n)*time.Second))
		d := historytest.Acked(row, fmt.Sprintf("service-%d", n%1000), "e1", time.Second, wire.Applied)
		d.Revision, d.Hash = row.Revision, row.Hash
		if some = append(some, d); len(some) == 25 {
			if err := h.Store.Record(b.Context(), some); err != nil {
				b.Fatal(err)
			}
			some = nil
		}
		h.Deliver(row)
	}
	row := h.Moved("wide/password", changes, time.Now().Add(-2*time.Hour))
	for n := range services {
		service := fmt.Sprintf("service-%d", n)
		some = append(some, historytest.Acked(row, service, "e1", time.Second, wire.Applied))
		h.Report(historytest.Report(service, "e-"+service, row.Time.Add(time.Minute), row.Revision, historytest.Holding("wide/password", changes)))
	}
	h.Deliver(row, some...)
}

// serveHistory serves a history as AWS does, and returns the environment that leads there.
func serveHistory(b *testing.B, h *historytest.History) []string {
	b.Helper()
	host, err := lambdahost.New(lambdahost.Config{Region: historytest.Region, AccountID: historytest.Account})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = host.Close() })
	if err := host.Deploy(lambdahost.Function{Name: "prod-payments-broadcaster", Command: []string{"false"}, Env: []string{
		"BROADCASTER_ENV=prod", "BROADCASTER_DOMAIN=payments", "BROADCASTER_CHANGES_TABLE=" + changesTable,
		"BROADCASTER_OPERATIONS_TABLE=" + operationsTable, "BROADCASTER_REPORTS_TABLE=" + reportsTable,
	}}); err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(h.Tables.ServeHTTP))
	b.Cleanup(server.Close)
	return []string{
		"AWS_REGION=" + historytest.Region, "AWS_ACCESS_KEY_ID=placeholder", "AWS_SECRET_ACCESS_KEY=placeholder", "AWS_CONFIG_FILE=/dev/null",
		"AWS_ENDPOINT_URL_DYNAMODB=" + server.URL, "AWS_ENDPOINT_URL_LAMBDA=" + host.Endpoint(),
	}
}
