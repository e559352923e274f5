package secretcache_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache/secretcachetest"
)

var errBroken = errors.New("broken")

func TestTheBreakerOpensAfterThreeFailuresAndClosesAgain(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	var log *countedLog
	out := &logged{}
	cache := newCache(t, fake, func(cfg *secretcache.Config) {
		log = counted(cfg)
		cfg.Logger = out.logger()
	})
	secret := cache.Secret(password)
	reads := func(step string, want int64) {
		t.Helper()
		wantText(t, secret, "first")
		if got := log.reads.Swap(0); got != want {
			t.Errorf("%s: the log was read %d times, want %d", step, got, want)
		}
	}
	reads("the first check", 1)
	fake.BreakLog(errBroken)
	fake.Advance(nextCheck)
	for range 3 {
		reads("a failure, with one retry", 2)
	}
	reads("open", 0)
	fake.Advance(10*time.Second - time.Millisecond)
	reads("still open", 0)
	fake.Advance(time.Millisecond)
	reads("one probe", 2)
	reads("open again", 0)
	if got := cache.Counts(); got.CheckFailures != 4 || got.Uncertain != 7 || got.Checks != 1 {
		t.Errorf("got %+v", got)
	}

	fake.BreakLog(nil)
	fake.Advance(10 * time.Second)
	reads("closed", 1)
	reads("a hit", 0)
	fake.BreakLog(errBroken)
	fake.Advance(nextCheck)
	for range 3 {
		reads("it takes three failures again", 2)
	}
	reads("open once more", 0)
	wantLogged := func(step string, broken, fine int) {
		t.Helper()
		gone, back := strings.Count(out.String(), "cannot be read"), strings.Count(out.String(), "can be read again")
		if gone != broken || back != fine {
			t.Errorf("%s: logged %d times that it broke and %d that it came back: %s", step, gone, back, out)
		}
	}
	wantLogged("it broke again within a minute", 1, 1)
	fake.Advance(time.Minute)
	reads("it goes on", 2)
	wantLogged("and is told of, a minute after the outage before", 2, 1)
	fake.BreakLog(nil)
	fake.Advance(10 * time.Second)
	reads("closed again", 1)
	wantLogged("closed again", 2, 2)
}

func TestWithABrokenLogTheTTLAloneApplies(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	fake.BreakLog(errBroken)
	secret := newCache(t, fake).Secret(password) // not even the first check succeeds
	wantText(t, secret, "first")
	fake.Put(password, "second")
	fake.Advance(secretcache.DefaultTTL - aChange)
	wantText(t, secret, "first")
	fake.Advance(time.Millisecond)
	wantText(t, secret, "second")
}

// TestTheFirstCheckThatSucceedsMarksWhatIsCached: nobody knows what it has missed.
func TestTheFirstCheckThatSucceedsMarksWhatIsCached(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	fake.BreakLog(errBroken)
	secret := newCache(t, fake).Secret(password)
	wantText(t, secret, "first")
	fake.PutSilently(password, "second")
	fake.BreakLog(nil)
	wantText(t, secret, "second")
}

// An editedLog answers with something else than the log has.
type editedLog struct {
	secretcache.Log
	edit func(secretcache.Page) secretcache.Page
}

func (l *editedLog) Since(ctx context.Context, revision int64, limit int) (secretcache.Page, error) {
	page, err := l.Log.Since(ctx, revision, limit)
	return l.edited(page), err
}

func (l *editedLog) Tail(ctx context.Context, limit int) (secretcache.Page, error) {
	page, err := l.Log.Tail(ctx, limit)
	return l.edited(page), err
}

func (l *editedLog) edited(page secretcache.Page) secretcache.Page {
	if l.edit == nil {
		return page
	}
	return l.edit(page)
}

// newEdited returns a cache whose log the test edits.
func newEdited(t *testing.T, fake *secretcachetest.Fake, edits ...func(*secretcache.Config)) (*secretcache.Cache, *editedLog) {
	t.Helper()
	var log *editedLog
	cache := newCache(t, fake, append(edits, func(cfg *secretcache.Config) {
		log = &editedLog{Log: cfg.Log}
		cfg.Log = log
	})...)
	return cache, log
}

func TestAnEmptyLogIsABrokenOne(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	out := &logged{}
	cache, log := newEdited(t, fake, func(cfg *secretcache.Config) { cfg.Logger = out.logger() })
	log.edit = func(secretcache.Page) secretcache.Page { return secretcache.Page{} }
	wantText(t, cache.Secret(password), "first")
	if got := cache.Counts(); got.CheckFailures != 1 || got.Uncertain != 1 || got.Checks != 0 {
		t.Errorf("got %+v", got)
	}
	if revision, hash := cache.Position(); revision != 0 || hash != "" {
		t.Errorf("the position is %d, %q", revision, hash)
	}
	if !strings.Contains(out.String(), "empty") {
		t.Errorf("logged: %s", out)
	}
}

func TestAGapIsNotSteppedOver(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache, log := newEdited(t, fake)
	secret := cache.Secret(password)
	wantText(t, secret, "first")
	fake.Put(password, "second")
	fake.Put(apiKey, "first")
	log.edit = func(page secretcache.Page) secretcache.Page {
		page.Rows = append(page.Rows[:1:1], page.Rows[2:]...) // the row of the change is not there yet
		return page
	}
	fake.Advance(nextCheck)
	wantText(t, secret, "first")
	if revision, _ := cache.Position(); revision != 2 || cache.Counts().CheckFailures != 1 {
		t.Errorf("at revision %d, %+v", revision, cache.Counts())
	}
	log.edit = nil
	wantText(t, secret, "second")
	if revision, hash := cache.Position(); revision != 4 || len(hash) != 64 {
		t.Errorf("at revision %d, %s", revision, hash)
	}
}

// TestARestoredTableIsFollowed: its rows are others than those that were applied.
func TestARestoredTableIsFollowed(t *testing.T) {
	fake, restored := secretcachetest.New(t), secretcachetest.New(t)
	restored.Put(apiKey, "first")
	for _, version := range []string{"first", "second"} {
		fake.Put(password, version)
	}
	var log *editedLog
	cache := newCache(t, fake, func(cfg *secretcache.Config) {
		log = &editedLog{Log: cfg.Log}
		cfg.Log = log
	})
	secret := cache.Secret(password)
	wantText(t, secret, "second")
	fake.PutSilently(password, "third")
	log.Log = restored.Config().Log // shorter, and with another hash at each revision
	fake.Advance(nextCheck)
	wantText(t, secret, "third")
	if revision, _ := cache.Position(); revision != 2 {
		t.Errorf("at revision %d, want the restored table's", revision)
	}
	restored.Put(apiKey, "second")
	fake.Advance(nextCheck)
	wantText(t, secret, "third")
	wantFetches(t, fake, password, 2) // what follows is applied row by row again
}

func TestFarBehindEverythingIsFetchedAgain(t *testing.T) {
	for name, rows := range map[string]int{"a hundred rows": 100, "one more": 101} {
		t.Run(name, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			cache := newCache(t, fake)
			wantText(t, cache.Secret(password), "first")
			for range rows {
				fake.Put(apiKey, "another")
			}
			fake.Advance(nextCheck)
			wantText(t, cache.Secret(password), "first")
			want := 1
			if rows > 100 {
				want = 2
			}
			wantFetches(t, fake, password, want)
			if revision, _ := cache.Position(); revision != int64(rows)+2 {
				t.Errorf("at revision %d", revision)
			}
		})
	}
}

func TestARowOfANewerSchemaMarksEverything(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	cache, log := newEdited(t, fake)
	wantText(t, cache.Secret(password), "first")
	fake.Put(apiKey, "first")
	log.edit = func(page secretcache.Page) secretcache.Page {
		page.Rows[len(page.Rows)-1].Schema = wire.Schema + 1
		return page
	}
	fake.Advance(nextCheck)
	wantText(t, cache.Secret(password), "first")
	wantFetches(t, fake, password, 2)
}

// TestALateAnswerIsAskedForByVersion: the label reads old for a while after the change.
func TestALateAnswerIsAskedForByVersion(t *testing.T) {
	fake := secretcachetest.New(t)
	fake.Put(password, "first")
	var late *lateSecrets
	cache := newCache(t, fake, func(cfg *secretcache.Config) { late = lagging(cfg) })
	secret := cache.Secret(password)
	wantText(t, secret, "first")
	version := fake.Put(password, "second")
	late.asOf(t, "first")
	fake.Advance(nextCheck)
	wantText(t, secret, "second")
	if value, err := secret.Get(t.Context()); err != nil || value.VersionID() != version {
		t.Errorf("the version is %s, %v", value.VersionID(), err)
	}
	if got := cache.Counts().LateAnswers; got != 2 {
		t.Errorf("%d late answers, want 2", got)
	}
}

// lateSecrets answers reads of AWSCURRENT with what was before.
type lateSecrets struct {
	secretcache.Secrets
	before secretcache.Fetched
}

// lagging puts lateSecrets before the configuration's own, which are not late yet.
func lagging(cfg *secretcache.Config) *lateSecrets {
	late := &lateSecrets{Secrets: cfg.Secrets}
	cfg.Secrets = late
	return late
}

// asOf makes it late: it answers with the version that had this text.
func (s *lateSecrets) asOf(t *testing.T, text string) {
	t.Helper()
	fake := secretcachetest.New(t)
	fake.Put(password, text)
	before, err := fake.Config().Secrets.Get(t.Context(), password, "")
	if err != nil {
		t.Fatal(err)
	}
	s.before = before
}

func (s *lateSecrets) Get(ctx context.Context, id, versionID string) (secretcache.Fetched, error) {
	if versionID == "" && s.before.Name != "" {
		return s.before, nil
	}
	return s.Secrets.Get(ctx, id, versionID)
}

// TestAnotherDomainsLogIsNotFollowed: it does not tell of this function's secrets. What is wrong is said, and reads go on.
func TestAnotherDomainsLogIsNotFollowed(t *testing.T) {
	for name, edit := range map[string]func(*wire.Row){
		"another domain": func(r *wire.Row) { r.Domain = "kyc" },
		"another env":    func(r *wire.Row) { r.Env = "prod" },
	} {
		t.Run(name, func(t *testing.T) {
			fake := secretcachetest.New(t)
			fake.Put(password, "first")
			out := &logged{}
			cache, log := newEdited(t, fake, func(cfg *secretcache.Config) { cfg.Logger = out.logger() })
			secret := cache.Secret(password)
			wantText(t, secret, "first")
			log.edit = func(page secretcache.Page) secretcache.Page { // from now on, or from the start of another cache
				page.Rows = slices.Clone(page.Rows)
				for i := range page.Rows {
					edit(&page.Rows[i])
				}
				return page
			}
			fake.Advance(nextCheck)
			wantText(t, secret, "first")
			another, other := newEdited(t, fake, func(cfg *secretcache.Config) { cfg.Logger = out.logger() })
			other.edit = log.edit
			wantText(t, another.Secret(password), "first")
			for _, c := range []*secretcache.Cache{cache, another} {
				if got := c.Counts(); got.CheckFailures != 1 {
					t.Errorf("got %+v", got)
				}
			}
			if got := strings.Count(out.String(), "correct SECRET_BROADCAST_TABLE"); got != 2 {
				t.Errorf("logged %d times what to correct: %s", got, out)
			}
		})
	}
}
