package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const (
	connectionString = "/bank/prod/payments/neon/connection-string"
	version1         = "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE"
	version2         = "EXAMPLE2-90ab-cdef-fedc-ba987EXAMPLE"
	canary           = "canary-value"
)

// golden returns the content of one file of testdata.
func golden(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", path))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// goldens returns the names of a folder's JSON files, without the ending.
func goldens(t testing.TB, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files in %s: %v", folder, err)
	}
	for i, path := range paths {
		paths[i] = strings.TrimSuffix(filepath.Base(path), ".json")
	}
	slices.Sort(paths)
	return paths
}

// sameNames fails the test unless each golden of a folder is among the cases, and the other way round.
func sameNames[Case any](t *testing.T, folder string, cases map[string]Case) {
	t.Helper()
	if diff := cmp.Diff(goldens(t, folder), slices.Sorted(maps.Keys(cases))); diff != "" {
		t.Errorf("the files in %s and the cases of this test differ: %s", folder, diff)
	}
}

// checkGolden compares a golden with the value it means, in both directions: byte for byte when it is written.
func checkGolden[Message any](t *testing.T, path string, want Message) {
	t.Helper()
	file := golden(t, path+".json")
	var got Message
	if err := json.Unmarshal(file, &got); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is read as something else: %s", path, diff)
	}
	if strings.HasSuffix(path, "with-unknown-fields") {
		return // what is not known is not written again
	}
	again, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if diff := cmp.Diff(string(file), string(again)+"\n"); diff != "" {
		t.Errorf("%s is written differently: %s", path, diff)
	}
}

func at(text string) time.Time {
	out, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err) // a mistake in this file
	}
	return out
}

// rows are what the golden rows mean, in the order of the log.
func rows() map[string]wire.Row {
	change := func(name string, kind wire.Kind, versionID, when string) wire.Change {
		return wire.Change{Name: name, Kind: kind, VersionID: versionID, At: at(when)}
	}
	row := func(revision int64, when, previousHash, hash string, changes ...wire.Change) wire.Row {
		if changes == nil {
			changes = []wire.Change{}
		}
		return wire.Row{
			Schema: 1, Env: "prod", Domain: "payments", Revision: revision, Time: at(when),
			PreviousHash: previousHash, Changes: changes, Hash: hash,
		}
	}
	const (
		hash41 = "163582ca2492a0c882a5d643321a8f984582225f175181e0ca30b012a36c4e9f"
		hash42 = "eadcf5a9e2065938f64a5ddbf2f7396f8e1a9973c03fd0dfbff33436579a1238"
		hash43 = "8259dd344e4764421a6294711198577f4a9a80a5fa45080d15df434b578a10e3"
		hash44 = "0963cf48e306773032e5108b481af04566eaa5389fe19a769c2bf703f9790011"
		hash45 = "8455e26948be63d79eb6efdf089ff913cb687fd3f891a086be4c2251aed1cd27"
	)
	all := map[string]wire.Row{
		"first":    row(1, "2026-11-02T08:00:00Z", "", "08a8fd4e9d1647b3e50973718b400d65c86ecbf7d2cdad1498e804ddcfbe025f"),
		"moved":    row(42, "2026-11-23T10:00:00.421Z", hash41, hash42, change(connectionString, wire.Moved, version1, "2026-11-23T09:59:59.713Z")),
		"deleted":  row(43, "2026-11-23T11:00:00.5Z", hash42, hash43, change(connectionString, wire.Deleted, "", "2026-11-23T10:59:59.25Z")),
		"restored": row(44, "2026-11-23T11:05:00Z", hash43, hash44, change(connectionString, wire.Restored, version1, "2026-11-23T11:04:59Z")),
		"refresh":  row(45, "2026-11-23T12:00:00.000000001Z", hash44, hash45, change(connectionString, wire.Refresh, version1, "2026-11-23T09:59:59.713Z")),
		"bulk": row(46, "2026-11-23T13:00:06Z", hash45, "7acd3cd7b9a4653e03f8e6344ced577b776ced44f512efc8c6c58869df9861a3",
			change(connectionString, wire.Moved, version2, "2026-11-23T13:00:00.1Z"),
			change("/bank/prod/payments/neon/password", wire.Moved, version2, "2026-11-23T13:00:01.1Z"),
			change("/bank/prod/payments/cards/api-key", wire.Moved, version2, "2026-11-23T13:00:02.1Z"),
			change("/bank/prod/payments/ledger/signing_key", wire.Moved, version2, "2026-11-23T13:00:03.1Z"),
			change("/bank/prod/payments/ledger/signing_key-AbCdEf", wire.Moved, version2, "2026-11-23T13:00:04.1Z"),
			change("/bank/prod/payments/old/api-key", wire.Deleted, "", "2026-11-23T13:00:05.1Z"),
		),
	}
	bulk := all["bulk"]
	bulk.AuditHash = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945" // of []
	all["bulk"] = bulk
	return all
}

func TestGoldenRows(t *testing.T) {
	sameNames(t, "row", rows())
	for name, want := range rows() {
		checkGolden(t, "row/"+name, want)
	}
}

// TestSealGivesTheGoldenBodyAndHash: the hashes were not made by this package, so another language can make them too.
func TestSealGivesTheGoldenBodyAndHash(t *testing.T) {
	for name, want := range rows() {
		row := want
		row.Hash = "whatever was there before"
		body, err := row.Seal()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(golden(t, "row/"+name+".body")), string(body)); diff != "" {
			t.Errorf("%s: another body: %s", name, diff)
		}
		if row.Hash != want.Hash {
			t.Errorf("%s: the hash is %s, want %s", name, row.Hash, want.Hash)
		}
		opened, err := wire.OpenRow(body, row.Hash)
		if diff := cmp.Diff(want, opened); diff != "" || err != nil {
			t.Errorf("%s: opened as something else: %v %s", name, err, diff)
		}
		if err := wire.Verify(body, want.Hash); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := wire.Verify(append(body, ' '), want.Hash); !errors.Is(err, wire.ErrHash) {
			t.Errorf("%s: one byte more is verified: %v", name, err)
		}
	}
}

// TestARowWithANewerSchemaKeepsItsPlace: whatever it says of its changes.
func TestARowWithANewerSchemaKeepsItsPlace(t *testing.T) {
	for body, want := range map[string]int64{
		`{"schema":2,"revision":43,"previousHash":"p","changes":{"new":"form"}}`: 43,
		`{"schema":1,"revision":43,"previousHash":"p","changes":{"new":"form"}}`: 0,
		`{"schema":2,"revision":"43","changes":{"new":"form"}}`:                  0,
		`[]`: 0,
	} {
		got, err := wire.OpenRow([]byte(body), "h")
		if got.Revision != want || (err == nil) != (want > 0) || want > 0 && (got.PreviousHash != "p" || got.Hash != "h" || len(got.Changes) > 0) {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

func TestTheLogIsAChain(t *testing.T) {
	previous := rows()["moved"]
	for _, name := range []string{"deleted", "restored", "refresh", "bulk"} {
		row := rows()[name]
		if row.PreviousHash != previous.Hash || row.Revision != previous.Revision+1 {
			t.Errorf("%s does not follow revision %d", name, previous.Revision)
		}
		previous = row
	}
}

func TestABodyThatIsNoRowIsAnError(t *testing.T) {
	if _, err := wire.OpenRow([]byte(`{"revision":"`+canary+`"}`), "77ab"); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
}

func TestGoldenInvalidations(t *testing.T) {
	of := func(row, id string, resources ...string) wire.Invalidation {
		return wire.Invalidation{
			Version: "0", ID: id, Source: wire.Source, DetailType: wire.DetailType, Account: "111122223333", Region: "eu-west-2",
			Time: rows()[row].Time, Resources: resources, Detail: rows()[row],
		}
	}
	const arn = "arn:aws:secretsmanager:eu-west-2:111122223333:secret:"
	cases := map[string]wire.Invalidation{
		"moved":    of("moved", "01JDEXAMPLE000000000000000", arn+connectionString+"-AbCdE0"),
		"deleted":  of("deleted", "01JDEXAMPLE000000000000001", arn+connectionString+"-AbCdE0"),
		"restored": of("restored", "01JDEXAMPLE000000000000002", arn+connectionString+"-AbCdE0"),
		"refresh":  of("refresh", "01JDEXAMPLE000000000000003", arn+connectionString+"-AbCdE0"),
		"bulk": of("bulk", "01JDEXAMPLE000000000000004",
			arn+connectionString+"-AbCdE0", arn+"/bank/prod/payments/neon/password-AbCdE1", arn+"/bank/prod/payments/cards/api-key-AbCdE2",
			arn+"/bank/prod/payments/ledger/signing_key-AbCdE3", arn+"/bank/prod/payments/ledger/signing_key-AbCdEf-AbCdE4",
			arn+"/bank/prod/payments/old/api-key-AbCdE5"),
		"with-unknown-fields": of("moved", "01JDEXAMPLE000000000000007", arn+connectionString+"-AbCdE0"),
	}
	sameNames(t, "invalidation", cases)
	for name, want := range cases {
		checkGolden(t, "invalidation/"+name, want)
		got, ours, err := wire.ParseInvalidation(golden(t, "invalidation/"+name+".json"))
		if diff := cmp.Diff(want, got); diff != "" || !ours || err != nil {
			t.Errorf("%s: ours %v, %v %s", name, ours, err, diff)
		}
	}
}

func TestMalformedInvalidationsAreRefused(t *testing.T) {
	for _, name := range goldens(t, "malformed") {
		want := errors.New(strings.TrimSpace(string(golden(t, "malformed/"+name+".error"))))
		kind := wire.ErrMalformed
		if name == "newer-schema" {
			kind = wire.ErrNewerSchema
		}
		got, ours, err := wire.ParseInvalidation(golden(t, "malformed/"+name+".json"))
		if !ours || !errors.Is(err, kind) || err.Error() != want.Error() {
			t.Errorf("%s: ours %v, error %v, want %v", name, ours, err, want)
		}
		if diff := cmp.Diff(wire.Invalidation{}, got); diff != "" {
			t.Errorf("%s: something was read beside the error: %s", name, diff)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error quotes the payload: %v", name, err)
		}
	}
}

func TestEventsOfTheFunctionsOwnAreLeftAlone(t *testing.T) {
	payloads := map[string][]byte{"empty": nil, "null": []byte("null"), "a string": []byte(`"secret-broadcaster"`), "not JSON": []byte("secret-broadcaster")}
	for _, name := range goldens(t, "other") {
		payloads[name] = golden(t, "other/"+name+".json")
	}
	for name, payload := range payloads {
		before := bytes.Clone(payload)
		if _, ours, err := wire.ParseInvalidation(payload); ours || err != nil {
			t.Errorf("%s: ours %v, %v", name, ours, err)
		}
		if !bytes.Equal(before, payload) {
			t.Errorf("%s was changed", name)
		}
	}
}

func outcome(name, versionID string, o wire.Outcome) wire.SecretOutcome {
	return wire.SecretOutcome{Name: name, VersionID: versionID, Outcome: o}
}

func verified(o wire.SecretOutcome) wire.SecretOutcome {
	o.Verified = true
	return o
}

func because(o wire.SecretOutcome, reason string) wire.SecretOutcome {
	o.Reason = reason
	return o
}

func TestGoldenAcks(t *testing.T) {
	of := func(row string, secrets ...wire.SecretOutcome) wire.Ack {
		return wire.Ack{
			Schema: 1, Client: "go/1.0.0", Service: "payments-api", Function: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api:live",
			Environment: "7f3c0000000000000000000000000001", LogStream: "2026/11/23/[12]0f3a0000000000000000000000000001",
			Revision: rows()[row].Revision, Hash: rows()[row].Hash, Secrets: secrets,
		}
	}
	problem := func(a wire.Ack, text string) wire.Ack {
		a.Problem = text
		return a
	}
	cases := map[string]wire.Ack{
		"applied":          of("moved", verified(outcome(connectionString, version1, wire.Applied))),
		"applied-deletion": of("deleted", outcome(connectionString, "", wire.Applied)),
		"not-cached":       of("moved", outcome(connectionString, "", wire.NotCached)),
		"failed":           of("moved", because(outcome(connectionString, version1, wire.Failed), "an OnChange function refused the new version")),
		"observed":         of("moved", outcome(connectionString, "", wire.Observed)),
		"bulk": of("bulk",
			verified(outcome(connectionString, version2, wire.Applied)),
			outcome("/bank/prod/payments/neon/password", "", wire.NotCached),
			because(outcome("/bank/prod/payments/cards/api-key", version1, wire.Failed), "the new version could not be fetched")),
		"refused":    problem(of("no row"), "an invalidation of prod/kyc was sent to a function of prod/payments"),
		"log-unread": problem(of("moved"), "the change log could not be read"),
		"minimal": {
			Schema: 1, Client: "node/1.0.0", Service: "payments-api", Environment: "7f3c0000000000000000000000000001",
		},
		"with-unknown-fields": of("moved", verified(outcome(connectionString, version1, wire.Applied))),
	}
	sameNames(t, "ack", cases)
	for name, want := range cases {
		checkGolden(t, "ack/"+name, want)
	}
}

func TestGoldenReports(t *testing.T) {
	current := wire.Report{
		Schema: 1, Client: "go/1.0.0", Env: "prod", Domain: "payments", Service: "payments-api",
		Function: "arn:aws:lambda:eu-west-2:111122223333:function:payments-api", Version: "12",
		Environment: "7f3c0000000000000000000000000001", LogStream: "2026/11/23/[12]0f3a0000000000000000000000000001",
		TakesInvalidations: true, Mode: "on", Started: at("2026-11-23T08:00:00.001Z"), Time: at("2026-11-23T10:00:01.5Z"),
		Revision: 42, Hash: rows()["moved"].Hash, CheckEverySeconds: 2, MaxTTLSeconds: 300,
		Secrets: []wire.SecretOutcome{
			verified(outcome(connectionString, version1, wire.Applied)),
			because(outcome("/bank/prod/payments/neon/password", version1, wire.Failed), "the new version could not be fetched"),
		},
		Counts: wire.Counts{Checks: 3600, CheckFailures: 2, Fetches: 25, FetchFailures: 1, LateAnswers: 1, Invalidated: 2, Uncertain: 3, Outdated: 4, ReportFailures: 1},
	}
	cases := map[string]wire.Report{
		"current":             current,
		"with-unknown-fields": current,
		"minimal": {
			Schema: 1, Client: "go/1.0.0", Env: "prod", Domain: "payments", Service: "payments-api",
			Environment: "7f3c0000000000000000000000000001", Mode: "observe",
			Started: current.Started, Time: current.Time, CheckEverySeconds: 1.5, MaxTTLSeconds: 300,
		},
	}
	sameNames(t, "report", cases)
	for name, want := range cases {
		checkGolden(t, "report/"+name, want)
	}
}
