package secretcache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// readingHandler reads a secret in each invocation.
func readingHandler(secret *secretcache.Secret) secretcache.Handler {
	return handlerFunc(func(ctx context.Context, _ []byte) ([]byte, error) {
		value, err := secret.Get(ctx)
		return []byte(value.Text()), err
	})
}

type contextKey struct{}

func TestABusinessEventPassesUntouched(t *testing.T) {
	fake := secretcachetest.New(t)
	cache := newCache(t, fake)
	for _, payload := range [][]byte{nil, []byte(`{"order":1}`), []byte(`not JSON`), []byte(`{"source":"secret-broadcaster","detail-type":"Secret Counted"}`)} {
		cause := errors.New("no such order")
		ctx := context.WithValue(t.Context(), contextKey{}, "the context")
		handler := cache.Wrap(handlerFunc(func(got context.Context, p []byte) ([]byte, error) {
			if !bytes.Equal(p, payload) || got.Value(contextKey{}) != "the context" {
				t.Errorf("the handler got %q with another context or payload", p)
			}
			return []byte("its answer"), cause
		}))
		answer, err := handler.Invoke(ctx, payload)
		if string(answer) != "its answer" || err != cause { //nolint:errorlint // untouched is the very same
			t.Errorf("%q: answered %q, %v", payload, answer, err)
		}
	}
}

func TestAPanicOfTheHandlerPasses(t *testing.T) {
	handler := newCache(t, secretcachetest.New(t)).Wrap(handlerFunc(func(context.Context, []byte) ([]byte, error) { panic("its own") }))
	defer func() {
		if got := recover(); got != "its own" {
			t.Errorf("recovered %v", got)
		}
	}()
	handler.Invoke(t.Context(), nil) //nolint:errcheck // it panics
}

func TestAnInvocationStartsTheCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := secretcachetest.New(t)
		var log *countedLog
		cache := newCache(t, fake, func(cfg *secretcache.Config) { log = counted(cfg) })
		handler := cache.Wrap(handlerFunc(func(context.Context, []byte) ([]byte, error) {
			synctest.Wait() // before anything is read
			if got := log.reads.Load(); got != 1 {
				t.Errorf("%d reads of the log, want 1", got)
			}
			return nil, nil
		}))
		for range 3 { // while it is young enough it is not checked again
			if _, err := handler.Invoke(t.Context(), nil); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAPushIsAnsweredWithAnAck(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	handler := cache.Wrap(notReached(t))
	wantText(t, cache.Secret(password), "first")
	second := fake.Put(password, "second")
	ack := push(t, handler, fake.Invalidation(password))

	revision, hash := cache.Position()
	cfg := fake.Config()
	want := wire.Ack{
		Schema: wire.Schema, Client: secretcache.ClientName, Service: cfg.Service, Function: cfg.Function.ARN, LogStream: cfg.Function.LogStream,
		Environment: ack.Environment, Revision: revision, Hash: hash,
		Secrets: []wire.SecretOutcome{{Name: password, VersionID: second, Outcome: wire.Applied, Verified: true}},
	}
	if diff := cmp.Diff(want, ack); diff != "" || revision != 3 || len(ack.Environment) != 32 {
		t.Error(revision, ack.Environment, diff)
	}
	wantFetches(t, fake, password, 2) // it is there before anybody reads it
	wantText(t, cache.Secret(password), "second")
	wantFetches(t, fake, password, 2)

	other := newCache(t, fake)
	if again := push(t, other.Wrap(notReached(t)), fake.Invalidation(password)); again.Environment == ack.Environment {
		t.Error("two environments have the same id")
	}
}

func TestTheAckTellsWhatBecameOfEachSecret(t *testing.T) {
	fake := secretcachetest.New(t)
	first := fake.Put(password, "first")
	cache := newCache(t, fake)
	handler := cache.Wrap(notReached(t))
	wantText(t, cache.Secret(password), "first")
	outcome := func(step string, want wire.SecretOutcome) {
		t.Helper()
		want.Name = password
		if diff := cmp.Diff([]wire.SecretOutcome{want}, push(t, handler, fake.Invalidation(password)).Secrets); diff != "" {
			t.Error(step, diff)
		}
	}
	fake.Refresh(password)
	outcome("refresh", wire.SecretOutcome{VersionID: first, Outcome: wire.Applied, Verified: true})
	fake.Put(password, "second")
	fake.BreakSecrets(errBroken)
	failed := push(t, handler, fake.Invalidation(password)).Secrets
	if len(failed) != 1 || failed[0].Outcome != wire.Failed || failed[0].Reason != "the new version could not be fetched" || failed[0].VersionID != first {
		t.Errorf("not to be fetched: %+v", failed)
	}
	fake.BreakSecrets(nil)
	fake.Delete(password)
	outcome("deleted", wire.SecretOutcome{Outcome: wire.Applied})
	if got := push(t, newCache(t, fake).Wrap(notReached(t)), fake.Invalidation(password)).Secrets; got[0].Outcome != wire.NotCached {
		t.Errorf("a cache that held nothing says %+v", got)
	}
}

func TestAReplayedPushMovesNothingBack(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	handler := cache.Wrap(notReached(t))
	secret := cache.Secret(password)
	wantText(t, secret, "first")
	old := fake.Invalidation(password)
	second := fake.Put(password, "second")
	push(t, handler, fake.Invalidation(password))
	ack := push(t, handler, old)
	if ack.Revision != 3 || len(ack.Secrets) != 1 || ack.Secrets[0].VersionID != second {
		t.Errorf("got %+v", ack)
	}
	wantText(t, secret, "second")
	wantFetches(t, fake, password, 2)
}

func TestAForgedPushIsToldNothing(t *testing.T) {
	fake := secretcachetest.New(t)
	first := fake.Put(password, "first")
	cache := newCache(t, fake)
	handler := cache.Wrap(notReached(t))
	wantText(t, cache.Secret(password), "first")
	for name, change := range map[string]func(*wire.Row){
		"another hash":     func(r *wire.Row) { r.Hash = strings.Repeat("0", 64) },
		"another revision": func(r *wire.Row) { r.Revision = 1 << 40 },
	} {
		payload := forged(t, fake.Invalidation(password), change)
		ack := push(t, handler, payload)
		if ack.Secrets != nil || ack.Revision != 2 || len(ack.Hash) != 64 || ack.Problem != "" {
			t.Errorf("%s: %+v", name, ack)
		}
		if value, err := cache.Secret(password).Get(t.Context()); err != nil || value.VersionID() != first {
			t.Errorf("%s: %s, %v", name, value.VersionID(), err)
		}
	}
	wantFetches(t, fake, password, 1) // and it cost no fetch
}

func TestAPushThatIsNotForUsIsRefused(t *testing.T) {
	const goldens = "../../invalidation/wire/testdata/malformed/"
	golden := func(name string) []byte {
		content, err := os.ReadFile(goldens + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	another := func(option secretcachetest.Option, name string) []byte {
		fake := secretcachetest.New(t, option)
		fake.Put(name, "first")
		return fake.Invalidation(name)
	}
	for _, test := range []struct {
		name    string
		payload []byte
		want    string
	}{
		{"another domain", another(secretcachetest.Domain("kyc"), "/bank/test/kyc/provider/api-key"), "of test/kyc was sent to a function of test/payments"},
		{"another environment", another(secretcachetest.Env("prod"), "/bank/prod/payments/neon/password"), "of prod/payments was sent to a function of test/payments"},
		{"a newer schema", golden("newer-schema"), "newer schema"},
		{"malformed", golden("revision-a-string"), "malformed"},
		{"malformed, with a canary", golden("changes-an-object"), "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			var log *countedLog
			out := &logged{}
			cache := newCache(t, fake, func(cfg *secretcache.Config) {
				log = counted(cfg)
				cfg.Logger = out.logger()
			})
			ack := push(t, cache.Wrap(notReached(t)), test.payload)
			if !strings.Contains(ack.Problem, test.want) || ack.Secrets != nil || ack.Revision != 0 || ack.Hash != "" {
				t.Errorf("got %+v", ack)
			}
			if strings.Contains(ack.Problem, canary) || !strings.Contains(out.String(), test.want) || strings.Contains(out.String(), canary) {
				t.Errorf("logged: %s", out)
			}
			if got := log.reads.Load(); got != 0 {
				t.Errorf("it cost %d reads of the log", got)
			}
		})
	}
}

// TestAPushWithoutTheLogRefetchesByLabelAndRarely: anybody who may invoke the function can forge one.
func TestAPushWithoutTheLogRefetchesByLabelAndRarely(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	handler := cache.Wrap(notReached(t))
	secret := cache.Secret(password)
	wantText(t, secret, "first")
	before, _ := cache.Position()
	fake.Put(password, "second")
	fake.BreakLog(errBroken)
	payload := forged(t, fake.Invalidation(password), func(r *wire.Row) { r.Changes[0].VersionID = "EXAMPLE9-90ab-cdef-fedc-ba987EXAMPLE" })
	for range 3 {
		ack := push(t, handler, payload)
		if ack.Problem != "the change log could not be read" || ack.Secrets != nil || ack.Revision != before {
			t.Errorf("got %+v", ack)
		}
		wantText(t, secret, "second")
	}
	wantFetches(t, fake, password, 2)
	fake.Advance(10 * time.Second)
	push(t, handler, payload)
	wantText(t, secret, "second")
	wantFetches(t, fake, password, 3)
}

func TestAPushIgnoresTheBreaker(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache := newCache(t, fake)
	secret := cache.Secret(password)
	fake.BreakLog(errBroken)
	for range 4 {
		wantText(t, secret, "first")
	}
	fake.BreakLog(nil)
	second := fake.Put(password, "second")
	ack := push(t, cache.Wrap(notReached(t)), fake.Invalidation(password))
	if ack.Problem != "" || len(ack.Secrets) != 1 || ack.Secrets[0].VersionID != second {
		t.Errorf("got %+v", ack)
	}
}

// TestAnAckWaitsForItsSecretsAtTheSameTime: a bulk rotation is answered as fast as its slowest secret is fetched.
func TestAnAckWaitsForItsSecretsAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, names := secretcachetest.New(t), []string{password, apiKey}
		secrets := heldSecrets{gate: make(chan struct{})}
		cache := newCache(t, fake, func(cfg *secretcache.Config) { secrets.Secrets, cfg.Secrets = cfg.Secrets, &secrets })
		open := secrets.gate
		close(open)
		for _, name := range names {
			fake.Put(name, "first")
			wantText(t, cache.Secret(name), "first")
		}
		secrets.gate = make(chan struct{})
		fake.Put(password, "second")
		fake.Put(apiKey, "second")
		var inv wire.Invalidation
		if err := json.Unmarshal(fake.Invalidation(apiKey), &inv); err != nil {
			t.Fatal(err)
		}
		inv.Detail.Changes = append(inv.Detail.Changes, wire.Change{Name: password, Kind: wire.Moved}) // of the row before
		payload, err := json.Marshal(inv)
		if err != nil {
			t.Fatal(err)
		}
		var ack wire.Ack
		var answering sync.WaitGroup
		answering.Go(func() { ack = push(t, cache.Wrap(notReached(t)), payload) })
		synctest.Wait()
		for _, name := range names {
			wantFetches(t, fake, name, 2)
		}
		close(secrets.gate)
		answering.Wait()
		if len(ack.Secrets) != 2 || ack.Secrets[0].Name != apiKey || ack.Secrets[1].Name != password || !ack.Secrets[1].Verified {
			t.Errorf("got %+v", ack.Secrets)
		}
	})
}
