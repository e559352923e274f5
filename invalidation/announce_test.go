package invalidation_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

// ordered is what somebody on call has done.
func ordered(name, id string) invalidation.Command {
	return invalidation.Command{Name: name, By: "arn:aws:iam::111122223333:user/oncall", Reason: "INC-4711", At: time.Now().UTC(), RequestID: id}
}

// byHand is the signal of a secret that somebody announces.
func byHand(t *testing.T, id string) events.Signal {
	t.Helper()
	s, err := events.Named(id)
	if err != nil {
		t.Fatal(err)
	}
	s.Time, s.EventID, s.DetailType, s.Actor = time.Now(), "request-1", "Invalidate", "arn:aws:iam::111122223333:user/oncall"
	return s
}

// TestAnnouncingByHand: the log tells of what is current, whatever it told before; a dry run says so first, and writes nothing.
func TestAnnouncingByHand(t *testing.T) {
	nothing := func(*world) {}
	for name, c := range map[string]struct {
		before   func(w *world)
		secret   string // neon if empty
		onDelete string
		want     string // of an error: a part
	}{
		"nothing has changed":         {before: nothing, want: "active, refresh of version 2 as revision 2"},
		"its event was lost":          {before: func(w *world) { w.put(neon) }, want: "active, moved of version 3 as revision 2"},
		"nobody knew of it":           {before: func(w *world) { w.create(stripe) }, secret: stripe, want: "active, moved of version 3 as revision 2"},
		"by its ARN without suffix":   {before: nothing, secret: "arn:aws:secretsmanager:eu-west-2:111122223333:secret:" + neon, want: "active, refresh of version 2 as revision 2"},
		"its deletion was lost":       {before: func(w *world) { w.delete(neon) }, want: "deleted, deleted of version  as revision 2"},
		"deletions are not announced": {before: func(w *world) { w.delete(neon) }, onDelete: "ttl", want: "deleted, nothing, revision 1"},
		"it has no version yet": {
			before: func(w *world) {
				_, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: stripe})
				w.done(err)
			},
			secret: stripe, want: "empty, nothing, revision 0",
		},
		"it never was":                  {before: nothing, secret: stripe, want: invalidation.ErrNotFound.Error()},
		"it is another domain's":        {before: nothing, secret: "/bank/prod/kyc/neon/key", want: invalidation.ErrElsewhere.Error()},
		"its ARN is of another Region":  {before: nothing, secret: "arn:aws:secretsmanager:us-east-1:111122223333:secret:" + neon, want: invalidation.ErrElsewhere.Error()},
		"its ARN is of another account": {before: nothing, secret: "arn:aws:secretsmanager:eu-west-2:444455556666:secret:" + neon, want: invalidation.ErrElsewhere.Error()},
		"it is known as deleted": {
			before: func(w *world) {
				w.delete(neon)
				w.confirm(w.broadcaster(), invalidation.Appended, w.event(events.Deleted, neon, ""))
			},
			want: "deleted, nothing, revision 2",
		},
		"Secrets Manager answers with what was before": {
			before: func(w *world) {
				w.put(neon)
				w.confirm(w.broadcaster(), invalidation.Appended, w.event(events.Moved, neon, version(3)))
				w.lag.Store(int64(30 * time.Second))
			},
			want: "what Secrets Manager answers is of before",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				b := w.broadcaster(func(cfg *invalidation.Config) {
					cfg.Subscribed = w.packaged(manifested(t, subscribers.Manifest{OnDelete: c.onDelete, Services: []subscribers.Service{{Name: "payments-api", Secrets: []string{"**"}}}}))
				})
				w.known(b)
				c.before(w)
				secret := cmp.Or(c.secret, neon)
				rows, known := w.changes(), w.secretRows()
				would, err := b.WouldAnnounce(t.Context(), byHand(t, secret))
				w.wantAnnounced("a dry run", would, err, c.want)
				if len(w.commands()) > 0 || !slices.Equal(rows, w.changes()) || !slices.Equal(known, w.secretRows()) {
					t.Error("a dry run writes")
				}
				is, err := b.Announce(t.Context(), byHand(t, secret), ordered("invalidate", "request-1"))
				w.wantAnnounced("done", is, err, c.want)
				if err != nil {
					return
				}
				if r := w.commands(); len(r) != 1 || r[0].Name != "invalidate" || r[0].Reason != "INC-4711" || r[0].About != secret {
					t.Errorf("recorded %+v", r)
				}
				w.deliver(b)
				if pushes := w.pushes(); is.Change != nil && (len(pushes) == 0 || pushes[len(pushes)-1] != is.Revision) {
					t.Errorf("pushed %v", pushes)
				}
			})
		})
	}
}

// wantAnnounced: an announcement in words, or its error.
func (w *world) wantAnnounced(when string, is invalidation.Announcement, err error, want string) {
	w.t.Helper()
	got := fmt.Sprintf("%s, nothing, revision %d", is.State, is.Revision)
	if c := is.Change; c != nil {
		got = fmt.Sprintf("%s, %s of version %s as revision %d", is.State, c.Kind, strings.TrimLeft(c.VersionID, "0-48"), is.Revision)
	}
	if err != nil && strings.Contains(err.Error(), want) {
		return
	}
	if err != nil || got != want {
		w.t.Errorf("%s: got %q, %v; want %q", when, got, err, want)
	}
}

func (w *world) commands() []invalidation.Command {
	w.t.Helper()
	all, err := w.store.Commands(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func (w *world) secretRows() []invalidation.SecretRow {
	w.t.Helper()
	all, err := w.store.Secrets(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// TestAFaultAtEveryStepOfAnAnnouncement: whoever repeats it has it announced, and nothing is left open.
func TestAFaultAtEveryStepOfAnAnnouncement(t *testing.T) {
	for how, k := range kindsOfFault() {
		t.Run(how, func(t *testing.T) {
			for step, last := 1, false; !last && !t.Failed(); step++ {
				inWorld(t, func(t *testing.T, w *world) {
					w.known(w.broadcaster())
					w.deliver(w.broadcaster())
					struck, ctx := k.at(t.Context(), step)
					first := w.broadcaster(w.behind(struck).configure)
					if _, err := first.Announce(ctx, byHand(t, neon), ordered("invalidate", "request-1")); err == nil {
						_ = first.Deliver(ctx)
					}
					second := w.broadcaster()
					is, err := second.Announce(t.Context(), byHand(t, neon), ordered("invalidate", "request-2"))
					if err != nil || is.Change == nil {
						t.Errorf("step %d: the second ends with %+v, %v", step, is, err)
					}
					w.deliver(second)
					time.Sleep(10 * time.Second) // what the first had tried is due
					w.deliver(second)
					for _, line := range slices.Concat(w.standing(2), w.standing(is.Revision)) {
						if line != "payments-api acknowledged" {
							t.Errorf("step %d: %s", step, line)
						}
					}
					if open := w.open(); len(open) > 0 {
						t.Errorf("step %d: open %v", step, open)
					}
					if last = struck.calls < step; last && step < 8 {
						t.Errorf("a run without a fault has %d steps", struck.calls)
					}
				})
			}
		})
	}
}

// TestTwoWhoAnnounceAtOnce: both are recorded, and each finds the log telling of the secret.
func TestTwoWhoAnnounceAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.known(w.broadcaster())
		done := make(chan error)
		for _, id := range []string{"request-1", "request-2"} {
			go func() {
				b := w.broadcaster()
				is, err := b.Announce(t.Context(), byHand(t, neon), ordered("invalidate", id))
				if err == nil && (is.Change == nil || is.Change.Kind != wire.Refresh) {
					err = errors.New("nothing was announced")
				}
				done <- errors.Join(err, b.Deliver(t.Context()))
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if records, open := w.commands(), w.open(); len(records) != 2 || len(open) != 0 {
			t.Errorf("%d records, open %v", len(records), open)
		}
	})
}
