package demo

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

// naive is the client that everybody writes first: it drops what a push names, and has no log.
type naive struct {
	secrets secretcache.Secrets
	ttls    map[string]time.Duration // by name; else DefaultTTL
	reports secretcache.Reports
	next    lambda.Handler
	once    sync.Once // it has reported

	mu     sync.Mutex
	cached map[string]naiveEntry
}

type naiveEntry struct {
	text  string
	until time.Time
}

func newNaive(secrets secretcache.Secrets, reports secretcache.Reports, ttls map[string]time.Duration) *naive {
	return &naive{secrets: secrets, reports: reports, ttls: ttls, cached: map[string]naiveEntry{}}
}

// Invoke implements lambda.Handler.
func (n *naive) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	inv, ours, err := wire.ParseInvalidation(payload)
	if !ours {
		answer, err := n.next.Invoke(ctx, payload)
		n.once.Do(func() { err = errors.Join(err, n.report(ctx, n.reports)) })
		return answer, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, change := range inv.Detail.Changes {
		delete(n.cached, change.Name)
	}
	ack := wire.Ack{
		Schema: wire.Schema, Client: "naive", Service: lambdacontext.FunctionName, Environment: lambdacontext.LogStreamName,
		Revision: inv.Detail.Revision, Hash: inv.Detail.Hash,
	}
	if err != nil {
		ack.Problem = err.Error()
	}
	return json.Marshal(ack)
}

// report says that this client takes invalidations: without that nobody pushes to it.
func (n *naive) report(ctx context.Context, to secretcache.Reports) error {
	invocation, _ := lambdacontext.FromContext(ctx)
	return to.Put(ctx, wire.Report{
		Schema: wire.Schema, Client: "naive", Service: lambdacontext.FunctionName, Environment: lambdacontext.LogStreamName,
		Function: invocation.InvokedFunctionArn, Version: lambdacontext.FunctionVersion, TakesInvalidations: true, Started: time.Now(),
	})
}

// read implements reader.
func (n *naive) read(ctx context.Context, name string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e, ok := n.cached[name]; ok && time.Now().Before(e.until) {
		return e.text, nil
	}
	ttl, ok := n.ttls[name]
	if !ok {
		ttl = secretcache.DefaultTTL
	}
	until := time.Now().Add(ttl)
	got, err := n.secrets.Get(ctx, name, "")
	if err != nil {
		return "", err
	}
	n.cached[name] = naiveEntry{got.Text, until}
	return got.Text, nil
}

// deafLog reads the log once and says ever after that nothing is new.
type deafLog struct {
	secretcache.Log

	mu   sync.Mutex
	last wire.Row
}

// Tail implements secretcache.Log.
func (l *deafLog) Tail(ctx context.Context, limit int) (secretcache.Page, error) {
	page, err := l.Log.Tail(ctx, limit)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(page.Rows) > 0 {
		l.last = page.Rows[len(page.Rows)-1]
	}
	return page, err
}

// Since implements secretcache.Log.
func (l *deafLog) Since(context.Context, int64, int) (secretcache.Page, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return secretcache.Page{Rows: []wire.Row{l.last}, Date: time.Now()}, nil
}
