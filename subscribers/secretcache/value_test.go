package secretcache_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

const canary = "canary-value"

// canaryValue returns a value, and the handle and the cache it is from.
func canaryValue(t *testing.T) (secretcache.Value, *secretcache.Secret, *secretcache.Cache) {
	t.Helper()
	fake := secretcachetest.New(t)
	fake.Put(password, canary)
	cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Reports = nil }) // nothing goes on when the read returns
	secret := cache.Secret(password)
	value, err := secret.Get(t.Context())
	if err != nil || value.Text() != canary {
		t.Fatalf("got %v, %v", value.Text(), err)
	}
	return value, secret, cache
}

func TestAValueNeverPrints(t *testing.T) {
	value, secret, cache := canaryValue(t)
	type holder struct {
		Value   secretcache.Value
		Pointer *secretcache.Value
		Any     any
		Map     map[string]secretcache.Value
	}
	held := holder{value, &value, value, map[string]secretcache.Value{"a": value}}
	for _, verb := range "vsqxXdTtcobOUeEfFgGpw" {
		for _, flag := range []string{"", "+", "#", "0", "-", " ", "+#", "20.3"} {
			format := "%" + flag + string(verb)
			for _, what := range []any{value, &value, held, &held, []secretcache.Value{value}, [1]any{value}, secret, cache} {
				wantNoCanary(t, format, fmt.Sprintf(format, what))
			}
		}
	}
	wantNoCanary(t, "Sprint", fmt.Sprint(value, held)+fmt.Sprintln(value))
	wantNoCanary(t, "String", value.String())
	wantNoCanary(t, "error", fmt.Errorf("login with %v: %w", value, errors.New("refused")).Error())
	wantNoCanary(t, "panic", panicText(value))
	if got := fmt.Sprintf("%s %v %q", value, value, value); got != "[secret] [secret] [secret]" {
		t.Errorf("it prints %q", got)
	}
}

func TestAValueIsNeverLoggedOrEncoded(t *testing.T) {
	value, _, _ := canaryValue(t)
	var out bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		logger := slog.New(handler).With("held", value)
		logger.Info("a value", "value", value, "pointer", &value, "in a struct", struct{ V secretcache.Value }{value},
			slog.Group("group", "value", value), "list", []secretcache.Value{value})
	}
	if got := strings.Count(out.String(), "[secret]"); got < 8 {
		t.Errorf("it is not there at all: %s", out.String())
	}
	for _, what := range []any{value, &value, struct{ V secretcache.Value }{value}, map[string]any{"v": value}} {
		encoded, err := json.Marshal(what)
		if err != nil || !strings.Contains(string(encoded), "[secret]") {
			t.Errorf("as JSON: %s, %v", encoded, err)
		}
		out.Write(encoded)
	}
	wantNoCanary(t, "the output", out.String())
}

func TestTheZeroValueHoldsNothing(t *testing.T) {
	var zero secretcache.Value
	if zero.Text() != "" || zero.VersionID() != "" || zero.String() != "[secret]" {
		t.Errorf("got %q, %q, %q", zero.Text(), zero.VersionID(), zero.String())
	}
}

func wantNoCanary(t *testing.T, how, text string) {
	t.Helper()
	if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
		t.Errorf("%s prints the value: %s", how, text)
	}
}

func panicText(v any) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	panic(v)
}
