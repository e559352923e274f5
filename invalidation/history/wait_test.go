package history_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/history"
	"github.com/bank-platform/secret-broadcaster/invalidation/history/historytest"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const neon = "neon/connection-string"

// timeouts are those of functions; of what is not there, there is no function.
type timeouts map[string]time.Duration

func (f timeouts) Timeout(_ context.Context, function string) (time.Duration, error) {
	is, ok := f[function]
	switch {
	case !ok:
		return 0, fmt.Errorf("%w: %s", invalidation.ErrNoFunction, function)
	case is == 0:
		return 0, fmt.Errorf("%w: %s", invalidation.ErrNotPermitted, function)
	}
	return is, nil
}

func readerOf(t *testing.T, h *history.Config) *history.Reader {
	t.Helper()
	r, err := history.New(*h)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// on is the configuration of a reader of a written history.
func on(h *historytest.History) *history.Config {
	return &history.Config{Env: historytest.Env, Domain: historytest.Domain, Store: h.Store, Reports: h.Reports, Manifests: h.Store, Timeouts: timeouts{
		"api:live": 30 * time.Second, historytest.FunctionARN("api") + ":$LATEST": 30 * time.Second, "batch": 10 * time.Minute, "denied": 0,
	}}
}

// A waiting is one history and what waiting for its newest change comes to.
type waiting struct {
	name    string
	write   func(h *historytest.History, row wire.Row)
	awaited history.Awaited
	after   time.Duration // when it ends
	missing string        // a part of what is missing; empty: it is reached
	assumed string
	// unsubscribed are those that are not any more, with commas.
	unsubscribed string
}

func TestWait(t *testing.T) {
	const checkEvery, timeout = 2 * time.Second, 30 * time.Second
	applied := func(h *historytest.History, row wire.Row) {
		h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Applied))
	}
	reports := func(edit func(*wire.Report)) func(*historytest.History, wire.Row) {
		return func(h *historytest.History, row wire.Row) {
			h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Applied))
			r := historytest.Report("api", "e2", row.Time.Add(3*time.Second), row.Revision, historytest.Holding(neon, 1))
			edit(&r)
			h.Report(r)
		}
	}
	for _, w := range []waiting{
		{name: "an ack proves it", write: applied, after: checkEvery},
		{name: "an ack proves it, and an environment looks into the log less often", write: reports(func(r *wire.Report) { r.CheckEverySeconds = 7 }), after: 7 * time.Second},
		{
			name: "an ack of a cold environment proves nothing",
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.NotCached))
			}, after: checkEvery + timeout,
		},
		{
			name: "an ack of another version proves nothing", after: checkEvery + timeout,
			write: func(h *historytest.History, row wire.Row) {
				d := historytest.Acked(row, "api", "e1", 0, wire.Applied)
				d.Ack.Secrets[0].VersionID = historytest.Version(9)
				h.Deliver(row, d)
			},
		},
		{
			name: "an ack of a push that told of something later proves nothing", after: checkEvery + timeout,
			write: func(h *historytest.History, row wire.Row) {
				d := historytest.Acked(row, "api", "e1", 0, wire.Applied)
				d.Ack.Secrets = nil
				h.Deliver(row, d)
			},
		},
		{
			name: "one of two functions is not proven", after: checkEvery + timeout,
			write: func(h *historytest.History, row wire.Row) {
				cold := historytest.Acked(row, "api", "e2", 0, wire.NotCached)
				cold.Function = historytest.FunctionARN("api") + ":$LATEST"
				h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Applied), cold)
			},
		},
		{
			name: "the log alone tells it", after: checkEvery + 10*time.Minute, awaited: history.Awaited{Within: time.Hour},
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Owed(row, "batch", 0, invalidation.Skipped, invalidation.Pull))
			},
		},
		{
			name: "it would take longer than is given, which is said at once", missing: "expected",
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Owed(row, "batch", 0, invalidation.Skipped, invalidation.Pull))
			},
		},
		{
			name: "who reads it without a subscription counts too", after: checkEvery + timeout, awaited: history.Awaited{AllowNone: true},
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row)
				h.Report(historytest.Report("api", "e1", row.Time, row.Revision, historytest.Holding(neon, 1)))
			},
		},
		{name: "nobody is subscribed", write: func(h *historytest.History, row wire.Row) { h.Deliver(row) }, missing: "nobody is subscribed to it"},
		{
			name:  "nobody is subscribed, and that is allowed",
			write: func(h *historytest.History, row wire.Row) { h.Deliver(row) }, awaited: history.Awaited{AllowNone: true}, after: checkEvery, assumed: "no environment reports the secret",
		},
		{name: "nothing is delivered yet", write: func(*historytest.History, wire.Row) {}, missing: "its fan-out is under way", after: time.Minute},
		{
			name: "a delivery is pending", missing: "the push to api is pending: throttled", after: time.Minute,
			write: func(h *historytest.History, row wire.Row) {
				h.Record(row, historytest.Owed(row, "api", 0, invalidation.Pending, invalidation.Throttled))
			},
		},
		{
			name: "a delivery has failed, which is said at once", missing: "the push to api failed: function-error",
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Owed(row, "api", 0, invalidation.Undelivered, invalidation.FunctionFail))
			},
		},
		{
			name: "a delivery has failed, of a service that is not subscribed any more", after: checkEvery,
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Applied), historytest.Owed(row, "ghost", 0, invalidation.Undelivered, invalidation.NoFunction))
				h.Holds(invalidation.Holding{At: row.Time.Add(-time.Hour)}, "api")
			},
			unsubscribed: "ghost",
		},
		{
			name: "a service that is not subscribed any more reports that it holds it", after: checkEvery + timeout, awaited: history.Awaited{AllowNone: true},
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Owed(row, "api", 0, invalidation.Undelivered, invalidation.NoAck))
				h.Report(historytest.Report("api", "e1", row.Time, row.Revision, historytest.Holding(neon, 1)))
				h.Holds(invalidation.Holding{At: row.Time.Add(time.Minute)}, "batch")
			},
			unsubscribed: "api",
		},
		{
			name: "a deployment brought a manifest without it", after: checkEvery,
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Applied), historytest.Owed(row, "ghost", 0, invalidation.Undelivered, invalidation.NoFunction))
				h.Holds(invalidation.Holding{Packaged: true, At: row.Time.Add(time.Second)}, "api")
			},
			unsubscribed: "ghost",
		},
		{
			name: "a deployment brought a manifest that is not written down yet", missing: "the push to new failed: no-function: there is no such function; correct the manifest",
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Applied), historytest.Owed(row, "new", 0, invalidation.Undelivered, invalidation.NoFunction))
				h.Holds(invalidation.Holding{Packaged: true, At: row.Time.Add(-time.Hour)}, "api")
			},
		},
		{
			name: "nobody is subscribed any more", missing: "nobody is subscribed to it",
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Owed(row, "ghost", 0, invalidation.Undelivered, invalidation.NoFunction))
				h.Holds(invalidation.Holding{At: row.Time.Add(time.Minute)})
			},
			unsubscribed: "ghost",
		},
		{
			name: "what became of another row with its revision counts for nothing", missing: "nobody is subscribed to it",
			write: func(h *historytest.History, row wire.Row) {
				other := row
				other.Hash = "of before a restore"
				h.Record(other, historytest.Acked(row, "api", "e1", 0, wire.Applied))
				h.Deliver(row)
			},
		},
		{name: "an environment is behind", write: reports(func(r *wire.Report) { r.Revision-- }), missing: "environment e2 was behind when it reported at", after: time.Minute},
		{
			name:  "an environment was heard of last before it had to know",
			write: reports(func(r *wire.Report) { r.Revision--; r.Time = r.Time.Add(-time.Second) }), after: checkEvery,
		},
		{
			name: "an environment cannot use it", missing: "environment e2: " + wire.ReasonNotFetched, after: time.Minute,
			write: reports(func(r *wire.Report) { r.Secrets[0].Outcome, r.Secrets[0].Reason = wire.Failed, wire.ReasonNotFetched }),
		},
		{
			name: "an environment cannot use another secret", after: checkEvery,
			write: reports(func(r *wire.Report) {
				r.Secrets = append(r.Secrets, wire.SecretOutcome{Name: historytest.Name("stripe/api-key"), Outcome: wire.Failed})
			}),
		},
		{name: "an environment only observes", write: reports(func(r *wire.Report) { r.Mode = "observe" }), missing: "only observes", after: time.Minute},
		{
			name: "an environment answered that it only observes", missing: "only observes", after: time.Minute,
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Observed))
			},
		},
		{
			name: "an environment cannot read the log", missing: "cannot read the change log", after: time.Minute,
			write: reports(func(r *wire.Report) { r.Counts = wire.Counts{CheckFailures: 3} }),
		},
		{
			name: "a function may not be looked at", after: checkEvery + 15*time.Minute, awaited: history.Awaited{Within: time.Hour},
			assumed: "denied cannot be looked at (not permitted: denied): a timeout of 15m0s",
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Owed(row, "denied", 0, invalidation.Skipped, invalidation.Pull))
			},
		},
		{
			name: "no function of it is known", after: checkEvery + 15*time.Minute, awaited: history.Awaited{Within: time.Hour},
			assumed: "no function of gone is known: a timeout of 15m0s",
			write: func(h *historytest.History, row wire.Row) {
				h.Deliver(row, historytest.Owed(row, "gone", 0, invalidation.Skipped, invalidation.Pull))
			},
		},
		{
			name: "the version that is waited for", write: applied, awaited: history.Awaited{Version: historytest.Version(1)}, after: checkEvery,
		},
		{
			name: "another version", write: applied, awaited: history.Awaited{Version: historytest.Version(2)}, after: time.Minute,
			missing: "the log does not say yet that AWSCURRENT names " + historytest.Version(2),
		},
		{
			name: "a deletion", after: checkEvery,
			write: func(h *historytest.History, _ wire.Row) {
				row := h.Deleted(neon, time.Now().Add(-900*time.Millisecond))
				h.Deliver(row, historytest.Acked(row, "api", "e1", 0, wire.Applied))
			},
		},
		{
			name: "a deletion that is not announced", missing: "without an announcement",
			write: func(h *historytest.History, row wire.Row) {
				applied(h, row)
				h.Note(neon, func(s *invalidation.SecretRow) { s.Current, s.State = "", invalidation.Deleted })
			},
		},
		{
			name: "a log that was restored to before it", missing: "the log lacks revision 9", after: time.Minute,
			write: func(h *historytest.History, _ wire.Row) {
				h.Note(neon, func(s *invalidation.SecretRow) { s.Revision = 9 })
			},
		},
		{
			name: "a secret that was never announced", missing: "no change of it was announced",
			write: func(h *historytest.History, _ wire.Row) {
				h.Note("stripe/api-key", func(s *invalidation.SecretRow) { s.Current = historytest.Version(1) })
			},
			awaited: history.Awaited{Name: historytest.Name("stripe/api-key")},
		},
		{
			name: "a secret that nobody has seen", missing: "the broadcaster has never seen the secret", after: time.Minute,
			write: func(*historytest.History, wire.Row) {}, awaited: history.Awaited{Name: historytest.Name("stripe/api-key")},
		},
		{
			name: "certain", awaited: history.Awaited{Certain: true, Within: time.Hour},
			write: reports(func(r *wire.Report) { r.MaxTTLSeconds = 600 }), after: time.Minute + 10*time.Minute + timeout,
		},
		{
			name: "certain, whatever failed", awaited: history.Awaited{Certain: true, Within: time.Hour}, after: time.Minute + 5*time.Minute + timeout,
			assumed: "no environment of api has reported: a TTL of 5m0s",
			write: func(h *historytest.History, row wire.Row) {
				d := historytest.Owed(row, "api", 0, invalidation.Undelivered, invalidation.Throttled)
				d.Function = "api:live"
				h.Deliver(row, d)
			},
		},
		{
			name: "certain, and nobody is subscribed", awaited: history.Awaited{Certain: true}, missing: "nobody is subscribed",
			write: func(h *historytest.History, row wire.Row) { h.Deliver(row) },
		},
	} {
		t.Run(w.name, func(t *testing.T) { synctest.Test(t, w.play) })
	}
}

func (w waiting) play(t *testing.T) {
	h := historytest.New(t)
	began := time.Now()
	w.write(h, h.Moved(neon, 1, began.Add(-900*time.Millisecond)))
	if w.awaited.Name == "" {
		w.awaited.Name = historytest.Name(neon)
	}
	if w.awaited.Within == 0 {
		w.awaited.Within = time.Minute
	}
	is, err := readerOf(t, on(h)).Wait(t.Context(), w.awaited)
	if took := time.Since(began); took != w.after {
		t.Errorf("it took %v, want %v", took, w.after)
	}
	if reached := w.missing == ""; is.Reached != reached || errors.Is(err, history.ErrNotYet) == reached || reached && err != nil {
		t.Errorf("reached: %v, %v\n%+v", is.Reached, err, is)
	}
	told := is.Problem
	for _, s := range is.Services {
		told += "\n" + s.Missing
		if s.Missing == "" {
			told += "expected"
		}
	}
	if !strings.Contains(told, w.missing) {
		t.Errorf("missing is\n%s\nwant %q", told, w.missing)
	}
	if unsubscribed := strings.Join(is.Unsubscribed, ","); unsubscribed != w.unsubscribed {
		t.Errorf("unsubscribed is %q, want %q", unsubscribed, w.unsubscribed)
	}
	if assumed := strings.Join(is.Assumed, "\n"); !strings.Contains(assumed, w.assumed) {
		t.Errorf("assumed is %q, want %q", assumed, w.assumed)
	}
}

// TestWaitFollowsWhatComes: the append, its deliveries, and a newer change in between.
func TestWaitFollowsWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := historytest.New(t)
		began := time.Now()
		go func() {
			time.Sleep(5 * time.Second)
			row := h.Moved(neon, 1, time.Now().Add(-900*time.Millisecond))
			time.Sleep(time.Second)
			h.Deliver(row, historytest.Acked(row, "api", "e1", time.Second, wire.Applied))
			time.Sleep(500 * time.Millisecond)
			row = h.Moved(neon, 2, time.Now().Add(-900*time.Millisecond)) // at 6.5 s
			h.Deliver(row, historytest.Acked(row, "api", "e1", time.Second, wire.Applied))
		}()
		var told []string
		is, err := readerOf(t, on(h)).Wait(t.Context(), history.Awaited{Name: historytest.Name(neon), Within: time.Minute, Waiting: func(is history.Waited) {
			told = append(told, fmt.Sprint(is.Revision, " ", is.Problem))
		}})
		if len(told) == 0 || told[0] != "0 the broadcaster has never seen the secret" || told[len(told)-1] != "2 " {
			t.Errorf("told %q", told)
		}
		if err != nil || is.Revision != 2 || is.Version != historytest.Version(2) {
			t.Errorf("%+v, %v", is, err)
		}
		if took := time.Since(began); took < 8500*time.Millisecond || took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestAnOldChangeNeedsNoWaiting: whoever asks an hour later is answered at once.
func TestAnOldChangeNeedsNoWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := historytest.New(t)
		row := h.Moved(neon, 1, time.Now())
		h.Deliver(row, historytest.Acked(row, "api", "e1", time.Second, wire.NotCached))
		time.Sleep(time.Hour)
		began := time.Now()
		is, err := readerOf(t, on(h)).Wait(t.Context(), history.Awaited{Name: historytest.Name(neon), Certain: true})
		if err != nil || time.Since(began) != 0 {
			t.Errorf("it took %v, %v", time.Since(began), err)
		}
		if want := row.Time.Add(10 * time.Second).Add(2*time.Second + 30*time.Second); !is.Expected.Equal(want) {
			t.Errorf("expected at %v, want %v", is.Expected, want)
		}
	})
}

// TestNobodyIsAskedAllTheTime although the time has come, as long as it is not known whom it concerns.
func TestNobodyIsAskedAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := historytest.New(t)
		h.Moved(neon, 1, time.Now().Add(-time.Hour)) // and nothing is delivered
		began := time.Now()
		is, err := readerOf(t, on(h)).Wait(t.Context(), history.Awaited{Name: historytest.Name(neon), Certain: true, Within: 10 * time.Second})
		if !errors.Is(err, history.ErrNotYet) || is.Problem != "its fan-out is under way" || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %+v, %v", time.Since(began), is, err)
		}
	})
}

// TestADateThatIsAheadMovesNothing: whoever waits counts from when they see the row, whatever the broadcaster's clock says.
func TestADateThatIsAheadMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := historytest.New(t)
		row := h.Moved(neon, 1, time.Now().Add(30*time.Second))
		h.Deliver(row, historytest.Acked(row, "api", "e1", time.Second, wire.Applied))
		began := time.Now()
		if _, err := readerOf(t, on(h)).Wait(t.Context(), history.Awaited{Name: historytest.Name(neon)}); err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("it took %v, %v", time.Since(began), err)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		is, err := readerOf(t, on(historytest.New(t))).Wait(ctx, history.Awaited{Name: historytest.Name(neon)})
		if !errors.Is(err, history.ErrNotYet) || !errors.Is(err, context.DeadlineExceeded) || is.Problem == "" {
			t.Errorf("%+v, %v", is, err)
		}
	})
}

// TestNobodyAsksLambda: without Timeouts every function may run for the longest time there is.
func TestNobodyAsksLambda(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := historytest.New(t)
		row := h.Moved(neon, 1, time.Now())
		h.Deliver(row, historytest.Acked(row, "api", "e1", time.Second, wire.NotCached))
		cfg := on(h)
		cfg.Timeouts = nil
		is, err := readerOf(t, cfg).Wait(t.Context(), history.Awaited{Name: historytest.Name(neon), Within: time.Second})
		if want := "api:live cannot be looked at (nobody asks Lambda): a timeout of 15m0s"; !errors.Is(err, history.ErrNotYet) || len(is.Assumed) != 2 || is.Assumed[1] != want {
			t.Errorf("%q, %v", is.Assumed, err)
		}
	})
}
