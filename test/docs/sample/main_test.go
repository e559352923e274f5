package main

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

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

func TestNoOrderFailsInTheMiddleOfARotation(t *testing.T) {
	fake := secretcachetest.New(t, secretcachetest.Env("prod"), secretcachetest.Domain("payments"))
	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	db := &database{accepted: "first"}
	handler := newSettlement(cache, db)
	pay := func() {
		t.Helper()
		if _, err := handler.Invoke(t.Context(), []byte(`{"id":"1"}`)); err != nil {
			t.Error(err)
		}
	}

	fake.Put("/bank/prod/payments/neon/password", "first")
	pay()
	fake.PutPending("/bank/prod/payments/neon/password", "second")
	db.accepted = "second" // setSecret
	pay()
	fake.Promote("/bank/prod/payments/neon/password") // finishSecret
	pay()
}

func TestThePoolLogsInWithTheSecret(t *testing.T) {
	fake := secretcachetest.New(t, secretcachetest.Env("prod"), secretcachetest.Domain("payments"))
	cache, err := secretcache.New(fake.Config())
	if err != nil {
		t.Fatal(err)
	}
	db := newPool(cache)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.PingContext(t.Context()); !errors.Is(err, secretcache.ErrNotFound) {
		t.Errorf("got %v, want that there is no secret", err)
	}
	fake.Put("/bank/prod/payments/neon/connection-string", "postgres://payments:first@127.0.0.1:1/payments")
	var refused *pgconn.ConnectError
	if err := db.PingContext(t.Context()); !errors.As(err, &refused) || refused.Config.User != "payments" {
		t.Errorf("got %v, want that no server is there", err)
	}
}
