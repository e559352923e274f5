package kill_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
)

// trafficEvery is the pause between two invocations of a function.
const trafficEvery = 50 * time.Millisecond

// question and answer are what the demo's function takes and returns.
type question struct {
	Read      []string `json:"read"`
	Challenge string   `json:"challenge"`
}

type answer struct {
	Values []struct {
		Name, Proof, Error string
	} `json:"values"`
}

// ask has a function use secrets, and returns which version each of them had, or the error instead.
func (w *world) ask(names []string, invoke func(payload []byte) (functions.Result, error)) (versions, problems map[string]string, err error) {
	q := question{Read: names, Challenge: newID()}
	payload, err := json.Marshal(q)
	if err != nil {
		return nil, nil, err
	}
	result, err := invoke(payload)
	if err != nil {
		return nil, nil, err
	}
	var a answer
	if err := json.Unmarshal(result.Payload, &a); err != nil || result.FunctionError != "" || len(a.Values) != len(names) {
		return nil, nil, fmt.Errorf("%s answered %s, %w", result.Environment, result.Payload, err)
	}
	versions, problems = map[string]string{}, map[string]string{}
	for _, value := range a.Values {
		if value.Error != "" {
			problems[value.Name] = value.Error
			continue
		}
		if versions[value.Name] = w.proven(value.Name, q.Challenge, value.Proof); versions[value.Name] == "" {
			return nil, nil, fmt.Errorf("%s used a value that %s never had", result.Environment, value.Name)
		}
	}
	return versions, problems, nil
}

// proven returns the version of a secret whose text a proof was made with: nobody goes by what a client says of itself.
func (w *world) proven(name, challenge, proof string) (version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, text := range w.values[name] {
		mac := hmac.New(sha256.New, []byte(text))
		mac.Write([]byte(challenge))
		if hex.EncodeToString(mac.Sum(nil)) == proof {
			return id
		}
	}
	return ""
}

// warmUp begins the log, starts every environment and has each read all secrets. It returns when each function has
// reported: nobody pushes to it before.
func (w *world) warmUp() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := w.tick(ctx); err != nil {
		w.t.Fatal(err)
	}
	for _, f := range w.functions {
		for len(w.environmentsOf(f)) < environments {
			var wg sync.WaitGroup
			for range environments {
				wg.Go(func() { w.askAll(ctx, f) })
			}
			wg.Wait()
		}
	}
	for _, e := range w.allEnvironments() {
		_, problems, err := w.askOne(ctx, e)
		if err != nil || len(problems) > 0 {
			w.t.Fatalf("warming up %s: %v, %v", e, problems, err)
		}
	}
	for _, f := range w.functions {
		for reports := dynamodb.NewReports(w.client, reportsTable); ; {
			of, err := reports.Of(ctx, f)
			if err != nil {
				w.t.Fatal(err)
			}
			if len(of) > 0 {
				break
			}
			if !pause(ctx, 10*time.Millisecond) {
				w.t.Fatalf("waiting for a report of %s: %v", f, ctx.Err())
			}
		}
	}
}

func (w *world) environmentsOf(function string) (ids []string) {
	for _, e := range w.host.Environments() {
		if e.Function == function && e.State != functions.Ended {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

func (w *world) allEnvironments() (ids []string) {
	for _, f := range w.functions {
		ids = append(ids, w.environmentsOf(f)...)
	}
	return ids
}

func (w *world) everDeleted(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deleted[name]
}

func (w *world) names() []string {
	names := make([]string, 0, len(w.all))
	for _, s := range w.all {
		names = append(names, s.name)
	}
	return names
}

// askAll has whichever environment of a function Lambda chooses read all secrets.
func (w *world) askAll(ctx context.Context, function string) {
	_, _, err := w.ask(w.names(), func(payload []byte) (functions.Result, error) { return w.host.Invoke(ctx, function, payload) })
	w.done(err)
}

// askOne has one environment read all secrets as soon as it is at rest. No caller on AWS could choose it.
func (w *world) askOne(ctx context.Context, environment string) (versions, problems map[string]string, err error) {
	for {
		versions, problems, err = w.ask(w.names(), func(payload []byte) (functions.Result, error) {
			return w.host.InvokeIdle(ctx, environment, payload)
		})
		if !errors.Is(err, functions.ErrNotAtRest) || !pause(ctx, time.Millisecond) {
			return versions, problems, err
		}
	}
}

// traffic invokes a function again and again until ctx ends. Reads may fail only of a secret that was deleted: also for a
// while after it was restored, if nothing has told of that yet.
func (w *world) traffic(ctx context.Context, function string, r *rand.Rand) {
	names := w.names()
	for pause(ctx, trafficEvery) {
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		_, problems, err := w.ask(slices.Clone(names[:6]), func(payload []byte) (functions.Result, error) {
			return w.host.Invoke(context.WithoutCancel(ctx), function, payload)
		})
		if err != nil {
			w.t.Error(err)
			return
		}
		w.counts.reads.Add(int64(len(names[:6])))
		for name, problem := range problems {
			if !w.everDeleted(name) {
				w.t.Errorf("%s cannot read %s: %s", function, name, problem)
			}
		}
	}
}
