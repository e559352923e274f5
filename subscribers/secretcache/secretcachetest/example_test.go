package secretcachetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

const password = "/bank/test/payments/neon/password"

// A payments is a team's own handler. It keeps the handle, not the value.
type payments struct {
	password *secretcache.Secret
	pool     string // stands for a pool of connections
	opened   int
}

func newPayments(cache *secretcache.Cache) *payments {
	p := &payments{password: cache.Secret(password)}
	p.password.OnChange(func(context.Context, secretcache.Value) error {
		p.pool = "" // its connections belong to the old password
		return nil
	})
	return p
}

// Invoke implements lambda.Handler.
func (p *payments) Invoke(ctx context.Context, _ []byte) ([]byte, error) {
	value, err := p.password.Get(ctx)
	if err != nil {
		return nil, err
	}
	if p.pool == "" {
		p.pool = "pool with the " + value.Text() + " password"
		p.opened++
	}
	return []byte(p.pool), nil
}

// invoke calls a handler as Lambda does and prints what it answers.
func invoke(handler secretcache.Handler, payload string) {
	answer, err := handler.Invoke(context.Background(), []byte(payload))
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	fmt.Println(string(answer))
}

// A rotation nobody pushed: the next read after CheckEvery has the new password, and the pool is a new one.
func Example() {
	t := &testing.T{} // your test's own
	fake := secretcachetest.New(t)
	fake.Put(password, "first")

	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	handler := cache.Wrap(newPayments(cache))
	invoke(handler, `{"order":1}`)

	fake.Put(password, "second")
	fake.Advance(secretcache.DefaultCheckEvery + time.Millisecond)
	invoke(handler, `{"order":2}`)
	fmt.Println("fetched", fake.Fetches(password), "times")

	// Output:
	// pool with the first password
	// pool with the second password
	// fetched 2 times
}

// A push: the handler answers it itself, without running the team's code, and OnChange has been called when it returns.
func ExampleFake_Invalidation() {
	t := &testing.T{} // your test's own
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	team := newPayments(cache)
	handler := cache.Wrap(team)
	invoke(handler, `{"order":1}`)

	fake.Put(password, "second")
	answer, err := handler.Invoke(context.Background(), fake.Invalidation(password))
	if err != nil {
		t.Fatal(err)
	}
	var ack wire.Ack
	if err := json.Unmarshal(answer, &ack); err != nil {
		t.Fatal(err)
	}
	fmt.Println(ack.Secrets[0].Outcome, "verified:", ack.Secrets[0].Verified)
	fmt.Printf("pool: %q, opened: %d\n", team.pool, team.opened)

	// Output:
	// pool with the first password
	// applied verified: true
	// pool: "", opened: 1
}

// What OnChange refuses is in the ack, which pages somebody. The value is served all the same.
func ExampleFake_Put_refused() {
	t := &testing.T{} // your test's own
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	secret := cache.Secret(password)
	secret.OnChange(func(context.Context, secretcache.Value) error { return errors.New("login failed") })
	handler := cache.Wrap(newPayments(cache))
	invoke(handler, `{"order":1}`)

	fake.Put(password, "second")
	answer, err := handler.Invoke(context.Background(), fake.Invalidation(password))
	if err != nil {
		t.Fatal(err)
	}
	var ack wire.Ack
	if err := json.Unmarshal(answer, &ack); err != nil {
		t.Fatal(err)
	}
	fmt.Println(ack.Secrets[0].Outcome+":", ack.Secrets[0].Reason)
	invoke(handler, `{"order":2}`)

	// Output:
	// pool with the first password
	// failed: an OnChange function refused the new version
	// pool with the second password
}

// A change whose event was lost: it lives as long as the TTL, which always applies.
func ExampleFake_PutSilently() {
	t := &testing.T{} // your test's own
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	handler := cache.Wrap(newPayments(cache))
	invoke(handler, `{"order":1}`)

	fake.PutSilently(password, "second")
	fake.Advance(secretcache.DefaultTTL - time.Second)
	invoke(handler, `{"order":2}`)
	fake.Advance(2 * time.Second)
	invoke(handler, `{"order":3}`)

	// Output:
	// pool with the first password
	// pool with the first password
	// pool with the second password
}

// While the log cannot be read no invocation fails for it: what is cached is served until its TTL ends.
func ExampleFake_BreakLog() {
	t := &testing.T{} // your test's own
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	handler := cache.Wrap(newPayments(cache))
	invoke(handler, `{"order":1}`)

	fake.BreakLog(errors.New("the table is gone"))
	fake.Put(password, "second")
	fake.Advance(time.Minute)
	invoke(handler, `{"order":2}`)
	fake.BreakLog(nil)
	fake.Advance(time.Minute)
	invoke(handler, `{"order":3}`)

	// Output:
	// pool with the first password
	// pool with the first password
	// pool with the second password
}

// A deleted secret is not served once the deletion is known.
func ExampleFake_Delete() {
	t := &testing.T{} // your test's own
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	secret := cache.Secret(password)
	value, err := secret.Get(context.Background())
	fmt.Println(value.Text(), err)

	fake.Delete(password)
	fake.Advance(secretcache.DefaultCheckEvery + time.Millisecond)
	_, err = secret.Get(context.Background())
	fmt.Println("deleted:", errors.Is(err, secretcache.ErrDeleted))

	fake.Restore(password)
	fake.Advance(secretcache.DefaultCheckEvery + time.Millisecond)
	value, err = secret.Get(context.Background())
	fmt.Println(value.Text(), err)

	// Output:
	// first <nil>
	// deleted: true
	// first <nil>
}

// Another environment and domain than test/payments.
func ExampleNew() {
	t := &testing.T{} // your test's own
	fake := secretcachetest.New(t, secretcachetest.Env("staging"), secretcachetest.Domain("kyc"))
	fake.Put("/bank/staging/kyc/provider/api-key", "first")
	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	value, err := cache.Secret("/bank/staging/kyc/provider/api-key").Get(context.Background())
	fmt.Println(value.Text(), err)

	// Output:
	// first <nil>
}
