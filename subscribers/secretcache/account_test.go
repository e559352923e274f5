package secretcache_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

// theirs is the ARN of another account's secret that is called as one of the domain's.
const theirs = "arn:aws:secretsmanager:eu-west-2:999988887777:secret:" + password + "-abcdef"

// twoAccounts adds another account's secret to those of the own one.
type twoAccounts struct {
	secretcache.Secrets
	asked *atomic.Int64 // how often anything was asked for
}

func (s twoAccounts) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	s.asked.Add(1)
	if id != theirs && id != strings.TrimSuffix(theirs, "-abcdef") {
		return s.Secrets.Get(ctx, id, versionID)
	}
	if versionID != "" && versionID != "their-version" {
		return secretcache.Fetched{}, secretcache.ErrNotFound
	}
	return secretcache.Fetched{Name: password, ARN: theirs, VersionID: "their-version", Text: "theirs", Created: time.Unix(1, 0)}, nil
}

func withTwoAccounts(t *testing.T) (cache *secretcache.Cache, fake *secretcachetest.Fake, asked *atomic.Int64) {
	fake, asked = secretcachetest.New(t), &atomic.Int64{}
	return newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = twoAccounts{cfg.Secrets, asked} }), fake, asked
}

// TestASecretOfAnotherAccountIsAnother: a name is the own account's, whoever was read before, and an ARN is its account's.
func TestASecretOfAnotherAccountIsAnother(t *testing.T) {
	partial := strings.TrimSuffix(theirs, "-abcdef")
	for name, order := range map[string][]string{
		"theirs first":           {theirs, password, theirs, partial, password},
		"theirs in part first":   {partial, password, theirs},
		"ours first":             {password, theirs, password, partial},
		"ours by its ARN first":  {"ours", theirs, "ours", password},
		"theirs, then our ARN":   {theirs, "ours", theirs, password},
		"theirs twice, then our": {theirs, theirs, "ours in part", theirs, password},
	} {
		t.Run(name, func(t *testing.T) {
			cache, fake, _ := withTwoAccounts(t)
			fake.Put(password, "ours")
			ids := map[string]string{"ours": fake.ARN(password), "ours in part": strings.TrimSuffix(fake.ARN(password), fake.ARN(password)[len(fake.ARN(password))-7:])}
			var handles []*secretcache.Secret
			for _, id := range order {
				if arn, ok := ids[id]; ok {
					id = arn
				}
				handles = append(handles, cache.Secret(id))
			}
			for range 2 { // from Secrets Manager, and from memory; then refetched
				for i, id := range order {
					want := "ours"
					if id == theirs || id == partial {
						want = "theirs"
					}
					wantText(t, handles[i], want)
				}
				fake.Advance(secretcache.DefaultTTL + time.Second)
			}
		})
	}
}

// TestASecretOfAnotherAccountIsCached with its TTL, whether or not there is one of its name here, and costs one request
// once it is known that it is not of this account.
func TestASecretOfAnotherAccountIsCached(t *testing.T) {
	for name, twin := range map[string]bool{"one of its name here": true, "none": false} {
		t.Run(name, func(t *testing.T) {
			cache, fake, asked := withTwoAccounts(t)
			if twin {
				fake.Put(password, "ours")
			}
			secret := cache.Secret(theirs)
			want := func(requests int64) {
				t.Helper()
				wantText(t, secret, "theirs")
				if got := asked.Swap(0); got != requests {
					t.Errorf("%d requests, want %d", got, requests)
				}
			}
			want(2) // which account is the own one is learned by the name
			want(0)
			fake.Put(apiKey, "key")
			wantText(t, cache.Secret(apiKey), "key")
			asked.Store(0)
			fake.Advance(secretcache.DefaultTTL + time.Second)
			want(1)
		})
	}
}

// TestAnARNOfTheOwnAccountCostsOneRequest, though it is not known yet to be of the own account, and what it brings is the
// name's too.
func TestAnARNOfTheOwnAccountCostsOneRequest(t *testing.T) {
	cache, fake, asked := withTwoAccounts(t)
	fake.Put(password, "ours")
	arn := fake.ARN(password)
	for _, id := range []string{arn, password, arn} {
		wantText(t, cache.Secret(id), "ours")
	}
	if got := asked.Load(); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

// TestChangesAreOfTheOwnAccount: another account's secret is neither marked by them nor judged, nor gone with a deletion.
func TestChangesAreOfTheOwnAccount(t *testing.T) {
	cache, fake, asked := withTwoAccounts(t)
	fake.Put(password, "ours")
	var told []string
	their, our := cache.Secret(theirs), cache.Secret(password)
	for _, secret := range []*secretcache.Secret{their, our} {
		secret.OnChange(func(_ context.Context, v secretcache.Value) error {
			told = append(told, v.Text())
			return nil
		})
	}
	wantText(t, their, "theirs")
	wantText(t, our, "ours")
	fake.Put(password, "ours anew")
	fake.Advance(nextCheck)
	wantText(t, our, "ours anew")
	if len(told) != 1 || told[0] != "ours anew" {
		t.Errorf("OnChange was told of %q", told)
	}
	asked.Store(0)
	fake.Delete(password)
	fake.Advance(nextCheck)
	if _, err := our.Get(t.Context()); !errors.Is(err, secretcache.ErrDeleted) {
		t.Errorf("ours: %v, want that it is deleted", err)
	}
	asked.Store(0)
	wantText(t, their, "theirs")
	if got := asked.Load(); got != 0 {
		t.Errorf("%d requests for another account's secret after our change", got)
	}
}

// lateByName does not know a secret by its name yet, though by its ARN.
type lateByName struct {
	secretcache.Secrets
	late *atomic.Bool
}

func (s lateByName) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	if s.late.Load() && !strings.HasPrefix(id, "arn:") {
		return secretcache.Fetched{}, secretcache.ErrNotFound
	}
	return s.Secrets.Get(ctx, id, versionID)
}

// TestAnARNFollowsTheLogBeforeItsAccountIsKnown: a name that cannot be found yet tells nothing, and the log's word counts.
func TestAnARNFollowsTheLogBeforeItsAccountIsKnown(t *testing.T) {
	fake, late := secretcachetest.New(t), &atomic.Bool{}
	cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = lateByName{cfg.Secrets, late} })
	fake.Put(password, "first")
	fake.Advance(2 * time.Minute)
	late.Store(true)
	secret := cache.Secret(fake.ARN(password))
	wantText(t, secret, "first")
	fake.Put(password, "second")
	fake.Advance(nextCheck)
	wantText(t, secret, "second")
	late.Store(false)
	fake.Put(password, "third")
	fake.Advance(nextCheck)
	wantText(t, secret, "third")
	wantText(t, cache.Secret(password), "third")
	fake.Delete(password)
	fake.Advance(nextCheck)
	if _, err := secret.Get(t.Context()); !errors.Is(err, secretcache.ErrDeleted) {
		t.Errorf("got %v, want that it is deleted", err)
	}
}

// TestWhereChangesAreNotFollowedAnARNIsAskedForAsItIs: nobody may have allowed its name.
func TestWhereChangesAreNotFollowedAnARNIsAskedForAsItIs(t *testing.T) {
	for name, edit := range map[string]func(*secretcache.Config){
		"off":              func(cfg *secretcache.Config) { cfg.Mode = secretcache.Off },
		"observing":        func(cfg *secretcache.Config) { cfg.Mode = secretcache.Observe },
		"another domain's": func(cfg *secretcache.Config) { cfg.Domain = "core" },
	} {
		t.Run(name, func(t *testing.T) {
			fake, asked := secretcachetest.New(t), &atomic.Int64{}
			cache := newCache(t, fake, edit, func(cfg *secretcache.Config) { cfg.Secrets = twoAccounts{cfg.Secrets, asked} })
			wantText(t, cache.Secret(theirs), "theirs")
			if got := asked.Load(); got != 1 {
				t.Errorf("%d requests, want 1", got)
			}
		})
	}
}

// replacedSecrets are other account's secrets, of which one gets a new version once.
type replacedSecrets struct {
	secretcache.Secrets
	version *atomic.Value
}

func (s replacedSecrets) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	version, _ := s.version.Load().(string)
	switch id {
	case theirs:
	case others:
		version = "another"
	default:
		return s.Secrets.Get(ctx, id, versionID)
	}
	return secretcache.Fetched{Name: password, ARN: id, VersionID: version, Text: version, Created: time.Unix(1, 0)}, nil
}

// others is the ARN of another secret of that account.
const others = "arn:aws:secretsmanager:eu-west-2:999988887777:secret:" + apiKey + "-abcdef"

// TestARejectionSaysNothingOfAnotherAccountsOtherSecrets: what it tells is kept under the own account's names only.
func TestARejectionSaysNothingOfAnotherAccountsOtherSecrets(t *testing.T) {
	fake, version := secretcachetest.New(t), &atomic.Value{}
	version.Store("theirs")
	cache := newCache(t, fake, func(cfg *secretcache.Config) { cfg.Secrets = replacedSecrets{cfg.Secrets, version} })
	fake.Put(apiKey, "key")
	wantText(t, cache.Secret(apiKey), "key")
	their := cache.Secret(theirs)
	wantText(t, their, "theirs")
	version.Store("theirs anew")
	err := their.Try(t.Context(), func(_ context.Context, v secretcache.Value) error {
		if v.Text() == "theirs" {
			return secretcache.Rejected(errors.New("password authentication failed"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, cache.Secret(others), "another")
	if got := cache.Counts().LateAnswers; got != 0 {
		t.Errorf("%d answers counted as late", got)
	}
}

// TestWhatWasReadByAnARNIsTheNames once it is known whose it is: nothing is asked for again, and OnChange is told of the next.
func TestWhatWasReadByAnARNIsTheNames(t *testing.T) {
	fake, asked := secretcachetest.New(t), &atomic.Int64{}
	cache := newCache(t, fake, func(cfg *secretcache.Config) {
		cfg.Mode, cfg.Secrets = secretcache.Off, twoAccounts{cfg.Secrets, asked}
	})
	fake.Put(password, "first")
	fake.Put(apiKey, "first")
	byARN := cache.Secret(fake.ARN(password))
	var told []string
	byARN.OnChange(func(_ context.Context, v secretcache.Value) error {
		told = append(told, v.Text())
		return nil
	})
	for _, secret := range []*secretcache.Secret{byARN, cache.Secret(apiKey), cache.Secret(password), byARN} {
		wantText(t, secret, "first")
	}
	if got := asked.Load(); got != 2 {
		t.Errorf("%d requests, want 2", got)
	}
	fake.Put(password, "second")
	fake.Advance(secretcache.DefaultTTL + time.Second)
	wantText(t, byARN, "second")
	if len(told) != 1 || told[0] != "second" {
		t.Errorf("OnChange was told of %q", told)
	}
}
