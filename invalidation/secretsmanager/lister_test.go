package secretsmanager_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/secretsmanager"
)

const payments = "/bank/prod/payments/"

func create(t *testing.T, m *secrets.Manager, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := m.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: "placeholder"}); err != nil {
			t.Fatal(err)
		}
	}
}

func listOn(t *testing.T, transport http.RoundTripper) []invalidation.Listed {
	t.Helper()
	all, err := secretsmanager.NewLister(clientOn(transport)).List(t.Context(), payments)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func namesOf(all []invalidation.Listed) []string {
	names := []string{}
	for _, l := range all {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return names
}

// TestListIsOfOneDomain: not of one whose name only begins like it, nor of another env.
func TestListIsOfOneDomain(t *testing.T) {
	m := secrets.New(secrets.Config{})
	create(t, m, payments+"neon/key", "/bank/prod/payments-archive/neon/key", "/bank/prod/kyc/neon/key", "/bank/test/payments/neon/key",
		"/bank/prod/paymentsneon", "/x/bank/prod/payments/neon/key", payments+"cards/key")
	calls := &recorded{RoundTripper: m.RoundTripper()}
	if diff := cmp.Diff([]string{payments + "cards/key", payments + "neon/key"}, namesOf(listOn(t, calls))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"secretsmanager.ListSecrets"}, calls.operations); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestListShowsHowASecretStands: as DescribeSecret does, also once it is scheduled for deletion, and when it is back.
func TestListShowsHowASecretStands(t *testing.T) {
	clock := time.Date(2026, 11, 23, 9, 59, 59, 713_000_000, time.UTC)
	m := secrets.New(secrets.Config{Now: func() time.Time { return clock }})
	create(t, m, name)
	for _, step := range []struct {
		what    string
		happens func() error
		deleted bool
	}{
		{"created", func() error { return nil }, false},
		{"rotated", func() error { return put(m, two) }, false},
		{"deleted", func() error { _, err := m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name}); return err }, true},
		{"restored", func() error { _, err := m.RestoreSecret(name); return err }, false},
	} {
		if err := step.happens(); err != nil {
			t.Fatal(err)
		}
		want := []invalidation.Listed{{Name: name, LastChanged: clock, Deleted: step.deleted}}
		if diff := cmp.Diff(want, listOn(t, m.RoundTripper())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, diff)
		}
		clock = clock.Add(time.Second)
	}
	if _, err := m.DeleteSecret(secrets.DeleteSecretInput{SecretID: name, ForceDeleteWithoutRecovery: true}); err != nil {
		t.Fatal(err)
	}
	if got := listOn(t, m.RoundTripper()); len(got) != 0 {
		t.Errorf("what is gone for good is listed: %+v", got)
	}
}

// TestListReadsEveryPage: a page has a hundred secrets at the most.
func TestListReadsEveryPage(t *testing.T) {
	m := secrets.New(secrets.Config{})
	var want []string
	for i := range 250 {
		want = append(want, fmt.Sprintf("%sservice-%d/key", payments, i))
	}
	create(t, m, want...)
	calls := &recorded{RoundTripper: m.RoundTripper()}
	got := namesOf(listOn(t, calls))
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(calls.operations) != 3 {
		t.Errorf("%d pages, want 3", len(calls.operations))
	}
}

// paged answers each ListSecrets with the next page, and keeps what it was asked.
type paged struct {
	pages []string
	asked []map[string]any
}

func (p *paged) RoundTrip(request *http.Request) (*http.Response, error) {
	var in map[string]any
	if err := json.NewDecoder(request.Body).Decode(&in); err != nil {
		return nil, err
	}
	p.asked = append(p.asked, in)
	page := p.pages[len(p.asked)-1]
	status := http.StatusOK
	if strings.Contains(page, "__type") {
		status = http.StatusBadRequest
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Request: request,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, Body: io.NopCloser(strings.NewReader(page)),
	}, nil
}

// TestListDoesNotRelyOnTheFilter: a filter that finds its value anywhere and in any case lets through what is another
// domain's. AWS says "prefix"; emulators differ.
func TestListDoesNotRelyOnTheFilter(t *testing.T) {
	p := &paged{pages: []string{
		`{"SecretList":[{"Name":"/old/bank/prod/payments/a","LastChangedDate":1},{"Name":"/BANK/prod/payments/a","LastChangedDate":1},{"LastChangedDate":1}],"NextToken":"2"}`,
		`{"SecretList":[{"Name":"` + name + `","LastChangedDate":1795428000.123}]}`,
	}}
	want := []invalidation.Listed{{Name: name, LastChanged: time.UnixMilli(1795428000123).UTC()}}
	if diff := cmp.Diff(want, listOn(t, p)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	ask := map[string]any{
		"Filters":                []any{map[string]any{"Key": "name", "Values": []any{payments}}},
		"IncludePlannedDeletion": true, "MaxResults": 100.0,
	}
	next := map[string]any{"NextToken": "2"}
	for key, value := range ask {
		next[key] = value
	}
	if diff := cmp.Diff([]map[string]any{ask, next}, p.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// TestASecretThatNeverChanged has no LastChangedDate in the list: it is as it was created.
func TestASecretThatNeverChanged(t *testing.T) {
	p := &paged{pages: []string{`{"SecretList":[
		{"Name":"` + payments + `a","CreatedDate":1795428000.123},
		{"Name":"` + payments + `b","CreatedDate":1795428000.123,"LastChangedDate":1795428001},
		{"Name":"` + payments + `c","CreatedDate":1795428000.123,"DeletedDate":1795428002}
	]}`}}
	created := time.UnixMilli(1795428000123).UTC()
	want := []invalidation.Listed{
		{Name: payments + "a", LastChanged: created},
		{Name: payments + "b", LastChanged: time.Unix(1795428001, 0).UTC()},
		{Name: payments + "c", LastChanged: created, Deleted: true},
	}
	if diff := cmp.Diff(want, listOn(t, p)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestAListThatBreaksOffIsNone: or what is missing would be taken for what is gone.
func TestAListThatBreaksOffIsNone(t *testing.T) {
	for _, code := range []string{"ThrottlingException", "AccessDeniedException", "InternalServiceError", "InvalidNextTokenException"} {
		refusal := `{"__type":"` + code + `","Message":"as asked"}`
		for where, pages := range map[string][]string{
			"at once":           {refusal},
			"at the other page": {`{"SecretList":[{"Name":"` + name + `","LastChangedDate":1}],"NextToken":"2"}`, refusal},
		} {
			got, err := secretsmanager.NewLister(clientOn(&paged{pages: pages})).List(t.Context(), payments)
			var api smithy.APIError
			if !errors.As(err, &api) || api.ErrorCode() != code || got != nil {
				t.Errorf("%s %s: got %v, %v", code, where, got, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := secretsmanager.NewLister(clientOn(secrets.New(secrets.Config{}).RoundTripper())).List(ctx, payments); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestRotations: what ListSecrets says of each secret of the domain that is not going away. The local Secrets Manager rotates
// nothing, so these are answers as AWS documents them.
func TestRotations(t *testing.T) {
	pages := &paged{pages: []string{
		`{"NextToken":"2","SecretList":[
			{"Name":"` + payments + `neon/key","RotationEnabled":true,"LastRotatedDate":1795000000.5,"NextRotationDate":1796000000},
			{"Name":"` + payments + `old/key","RotationEnabled":true,"DeletedDate":1795000000}]}`,
		`{"SecretList":[{"Name":"` + payments + `cards/key"},{"Name":"/bank/prod/kyc/x/key","RotationEnabled":true}]}`,
	}}
	got, err := secretsmanager.NewLister(clientOn(pages)).Rotations(t.Context(), payments)
	want := []history.Rotation{
		{Name: payments + "neon/key", Enabled: true, Last: time.UnixMilli(1795000000500).UTC(), Next: time.Unix(1796000000, 0).UTC()},
		{Name: payments + "cards/key"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}
