package main

import (
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

func TestTheNextOrderAfterARotationUsesTheNewPassword(t *testing.T) {
	fake := secretcachetest.New(t, secretcachetest.Env("prod"), secretcachetest.Domain("payments"))
	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	db := &database{}
	handler := newHandler(cache, db)
	pay := func() {
		t.Helper()
		if _, err := handler.Invoke(t.Context(), []byte(`{"id":"1"}`)); err != nil {
			t.Fatal(err)
		}
	}

	fake.Put("/bank/prod/payments/neon/password", "first")
	pay()
	fake.Put("/bank/prod/payments/neon/password", "second")
	fake.Advance(secretcache.DefaultCheckEvery + time.Millisecond)
	pay()
	if db.password != "second" {
		t.Errorf("logged in with the %s password, want the second", db.password)
	}
}
