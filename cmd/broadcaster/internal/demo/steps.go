package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation/dynamodb"
)

// begin starts a broadcaster for each domain with the schedule's tick, and the queue that hands events to the one of
// payments.
func (w *world) begin(ctx context.Context) error {
	for _, domain := range []string{payments, kyc} {
		if err := w.tick(ctx, domain); err != nil {
			return err
		}
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // it ends with the world, not with the story
	w.stop = stop
	w.running.Go(func() { w.queue.Run(running) })
	for _, f := range w.functions {
		w.running.Go(func() { w.traffic(running, f) })
	}
	return nil
}

// tick is the schedule's.
func (w *world) tick(ctx context.Context, domain string) error {
	tick := w.event("Scheduled Event", "aws.events", "arn:aws:events:"+region+":"+account+":rule/reconcile-"+domain, struct{}{})
	result, err := w.host.Invoke(ctx, broadcasterOf(domain)+":"+live, tick)
	if err == nil && result.FunctionError != "" {
		err = fmt.Errorf("%s cannot do its tick, see %s: %s", broadcasterOf(domain), w.dir, result.Payload)
	}
	return err
}

// warmUp starts every environment: as many invocations of a function at once as it is to have.
func (w *world) warmUp(ctx context.Context) error {
	for _, f := range w.functions {
		w.gate.expect(w.cfg.Environments)
		var (
			wg   sync.WaitGroup
			errs = make([]error, w.cfg.Environments)
		)
		for i := range w.cfg.Environments {
			wg.Go(func() { errs[i] = w.invoke(ctx, f, false) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if warm := w.seen.warm(f.name); warm != w.cfg.Environments {
			return fmt.Errorf("%d of %d environments of %s read their secrets; see %s", warm, w.cfg.Environments, f.name, w.dir)
		}
	}
	close(w.warm)
	return nil
}

// startTraffic returns when the steady traffic has reached every function, and each has reported that it takes
// invalidations: nobody pushes to it before.
func (w *world) startTraffic(ctx context.Context) error {
	for _, f := range w.functions {
		select {
		case <-w.steady[f]:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the traffic to %s: %w", f.name, context.Cause(ctx))
		}
		if !w.kind.pushes {
			continue
		}
		_, _, table := tablesOf(f.domain)
		for reports := dynamodb.NewReports(w.client, table); ; {
			of, err := reports.Of(ctx, f.name)
			if err != nil {
				return err
			}
			if len(of) > 0 {
				break
			}
			if err := pause(ctx, time.Now().Add(10*time.Millisecond)); err != nil {
				return fmt.Errorf("waiting for the reports of %s: %w", f.name, err)
			}
		}
	}
	return nil
}

// traffic invokes a function again and again, as its callers do: Lambda chooses the environment.
func (w *world) traffic(ctx context.Context, f function) {
	select {
	case <-w.warm:
	case <-ctx.Done():
	}
	for reached := false; ctx.Err() == nil; _ = pause(ctx, time.Now().Add(w.trafficEvery())) {
		if w.invoke(ctx, f, true) == nil && !reached {
			reached = true
			close(w.steady[f])
		}
	}
}

// rotate moves AWSCURRENT of the connection string as a rotation function does: first AWSPENDING, then the label.
func (w *world) rotate(context.Context) error {
	s := w.values.connectionString
	_, err := w.secrets.PutSecretValue(secrets.PutSecretValueInput{
		SecretID: s.name, SecretString: s.new.text, ClientRequestToken: s.new.id, VersionStages: []string{secrets.Pending},
	})
	if err != nil {
		return err
	}
	w.seen.note(func(seen *Seen) { seen.Changed = time.Now() })
	_, err = w.secrets.UpdateSecretVersionStage(secrets.UpdateSecretVersionStageInput{
		SecretID: s.name, VersionStage: secrets.Current, MoveToVersionID: s.new.id, RemoveFromVersionID: s.old.id,
	})
	return err
}

// changeAPIKey makes a new version current, of which nobody hears.
func (w *world) changeAPIKey(context.Context) error {
	s := w.values.apiKey
	_, err := w.secrets.PutSecretValue(secrets.PutSecretValueInput{SecretID: s.name, SecretString: s.new.text, ClientRequestToken: s.new.id})
	w.seen.note(func(seen *Seen) { seen.KeyChanged = time.Now() })
	return err
}

// send is what EventBridge does with Secrets Manager's native event: it puts it into the queue, here among duplicates and
// a stray one of another domain. The API key's event is lost.
func (w *world) send(moved secrets.LabelUpdated) {
	if w.held.Load() {
		w.sendHeld(moved)
		return
	}
	if moved.Name == APIKey {
		return
	}
	detail := map[string]string{"name": moved.Name, "labelUpdated": moved.Label, "versionId": moved.VersionID}
	event := w.event("Secret Label Updated", "aws.secretsmanager", moved.ARN, detail)
	stray := w.event("Secret Label Updated", "aws.secretsmanager", "arn:aws:secretsmanager:"+region+":"+account+":secret:"+kycToken+"-EXAMPL",
		map[string]string{"name": kycToken, "labelUpdated": secrets.Current, "versionId": w.values.token.new.id})
	w.queue.Send(string(stray))
	w.queue.Send(string(event), queue.Duplicate(0), queue.Duplicate(150*time.Millisecond))
	w.queue.Send(string(event), queue.Delay(time.Second))
}

// event is EventBridge's envelope (https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html).
func (w *world) event(detailType, source, resource string, detail any) []byte {
	text, _ := json.Marshal(map[string]any{ // strings and maps of strings always marshal
		"version": "0", "id": newUUID(), "detail-type": detailType, "source": source, "account": account, "region": region,
		"time": time.Now().UTC().Format(time.RFC3339), "resources": []string{resource}, "detail": detail,
	})
	return text
}

// noteCall sees every call of a broadcaster that was answered well: the append is the transaction that names the new
// version.
func (w *world) noteCall(operation string, request []byte) {
	if strings.HasSuffix(operation, ".TransactWriteItems") && strings.Contains(string(request), w.values.connectionString.new.id) {
		w.seen.noteAppend()
	}
}

func (w *world) awaitAppend(ctx context.Context) error {
	select {
	case <-w.seen.appended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the append, see %s: %w", w.dir, context.Cause(ctx))
	}
}

func (w *world) awaitCheckEvery(ctx context.Context) error {
	seen := w.seen.all()
	return pause(ctx, seen.checked(w.cfg))
}

func (w *world) awaitTTL(ctx context.Context) error {
	seen := w.seen.all()
	return pause(ctx, seen.expired(w.cfg))
}

// awaitQueue waits until every message is handled. Where pushes cannot be delivered the broadcaster goes on trying for
// longer than anybody wants to watch.
func (w *world) awaitQueue(ctx context.Context) error {
	if w.cfg.DropPushes || w.cfg.Break != "" {
		return nil
	}
	return w.queue.Wait(ctx)
}

// pause returns after the given time, or ctx's error if that ends first.
func pause(ctx context.Context, until time.Time) error {
	timer := time.NewTimer(time.Until(until) + time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readAll invokes every environment once, which no caller on AWS could: it is how the demo looks at each.
func (w *world) readAll(ctx context.Context) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, f := range w.functions {
		wg.Go(func() {
			for _, e := range w.environmentsOf(f) {
				if err := w.look(ctx, f, e.ID); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// look invokes one environment as soon as it is at rest: the traffic, or a push, may have it.
func (w *world) look(ctx context.Context, f function, id string) error {
	for {
		err := w.ask(f, false, func(payload []byte) (functions.Result, error) { return w.host.InvokeIdle(ctx, id, payload) })
		if !errors.Is(err, functions.ErrNotAtRest) {
			return err
		}
		if err := pause(ctx, time.Now().Add(2*time.Millisecond)); err != nil {
			return err
		}
	}
}

// invoke invokes a function as its callers do.
func (w *world) invoke(ctx context.Context, f function, traffic bool) error {
	return w.ask(f, traffic, func(payload []byte) (functions.Result, error) { return w.host.Invoke(ctx, f.name, payload) })
}

// ask invokes a function and notes what its caller received.
func (w *world) ask(f function, traffic bool, invoke func(payload []byte) (functions.Result, error)) error {
	q := question{Read: f.reads(), Challenge: randomHex(16)}
	payload, _ := json.Marshal(q) // strings always marshal
	sent := time.Now()
	result, err := invoke(payload)
	got := time.Now()
	if err != nil {
		return err
	}
	if w.held.Load() {
		return nil // nobody judges it
	}
	w.spoken.say(f.name, payload, result.Payload)
	read := w.understand(q, result)
	read.Function, read.Sent, read.Got, read.Traffic = f.name, sent, got, traffic
	w.seen.note(func(s *Seen) { s.Reads = append(s.Reads, read) })
	return nil
}

// understand checks the proofs in an answer: which version of each secret did the function use?
func (w *world) understand(q question, result functions.Result) Read {
	read := Read{Host: result.Environment, PID: result.PID, Versions: map[string]string{}}
	var a answered
	if err := json.Unmarshal(result.Payload, &a); err != nil || result.FunctionError != "" {
		read.Problem = "it failed: " + string(result.Payload)
		return read
	}
	if a.PID != result.PID {
		read.Problem = fmt.Sprintf("the answer is of process %d, the environment's is %d", a.PID, result.PID)
	}
	for i, name := range q.Read {
		if i >= len(a.Values) || a.Values[i].Name != name {
			read.Problem = "it did not answer for " + name
			continue
		}
		if a.Values[i].Error != "" {
			read.Problem = a.Values[i].Error
			continue
		}
		versions := w.values.versionsOf(name)
		used := slices.IndexFunc(versions, func(v version) bool { return proofOf(v.text, q.Challenge) == a.Values[i].Proof })
		if used < 0 {
			read.Problem = "it used a value that " + name + " never had"
			continue
		}
		read.Versions[name] = versions[used].id
	}
	return read
}
