package kill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
)

const (
	howMany = 24 // secrets
	// lostOf is how many of a hundred changes all events of are lost.
	lostOf = 15
)

// A secret, as whoever changes it knows it. Only one goroutine does.
type secret struct {
	name, arn string
	now       state
	previous  string // the version that AWSPREVIOUS names
	// rolledBack: the last move was one. Another one would be a move there and back that leaves AWSPREVIOUS as it was, which
	// is not promised to be found if all its events are lost.
	rolledBack bool
	// history is every state that it had, oldest first.
	history []state
}

// A state is what a reader of AWSCURRENT should get.
type state struct {
	version string // which AWSCURRENT names
	deleted bool
}

func (s *secret) is(now state) {
	s.now = now
	s.history = append(s.history, now)
}

// newVersion makes a version's id and its text.
func (w *world) newVersion(r *rand.Rand, name string) (id, text string) {
	a, b := r.Uint64(), r.Uint64()
	id = fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
	text = fmt.Sprintf("%s-%016x", w.marker, r.Uint64())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.values[name] == nil {
		w.values[name] = map[string]string{}
	}
	w.values[name][id] = text
	return id, text
}

func (w *world) createSecrets() {
	w.t.Helper()
	r := w.random(2)
	for i := range howMany {
		s := &secret{name: fmt.Sprintf("/bank/%s/%s/service-%d/key-%d", env, domain, i%6, i)}
		id, text := w.newVersion(r, s.name)
		created, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: s.name, SecretString: text, ClientRequestToken: id})
		if err != nil {
			w.t.Fatal(err)
		}
		s.arn = created.ARN
		s.is(state{version: id})
		w.all = append(w.all, s)
	}
	w.created = time.Now()
}

// change changes secrets at random until ctx ends, and sends what AWS would tell of it: late, twice, or not at all.
func (w *world) change(ctx context.Context) {
	r := w.random(3)
	for pause(ctx, between(r, 0, 150*time.Millisecond)) {
		s := w.all[r.IntN(len(w.all))]
		told, err := w.changeOnce(r, s)
		if err != nil {
			w.t.Errorf("changing %s: %v", s.name, err)
			return
		}
		w.counts.changes.Add(1)
		if r.IntN(100) < lostOf {
			w.counts.lost.Add(1)
			continue
		}
		var options []queue.SendOption
		if r.IntN(3) == 0 {
			options = append(options, queue.Delay(between(r, 0, 2*time.Second)))
		}
		if r.IntN(3) == 0 {
			options = append(options, queue.Duplicate(between(r, 0, time.Second)))
		}
		w.queue.Send(told, options...)
	}
}

// changeOnce changes a secret in one of the ways that it can be changed now, and returns the event that tells of it.
func (w *world) changeOnce(r *rand.Rand, s *secret) (told string, err error) {
	switch way := r.IntN(10); {
	case s.now.deleted:
		_, err = w.secrets.RestoreSecret(s.name)
		s.is(state{version: s.now.version})
		return apiCall("RestoreSecret", s), err
	case way == 0:
		w.mu.Lock()
		w.deleted[s.name] = true
		w.mu.Unlock()
		_, err = w.secrets.DeleteSecret(secrets.DeleteSecretInput{SecretID: s.name})
		s.is(state{version: s.now.version, deleted: true})
		return apiCall("DeleteSecret", s), err
	case way < 3 && s.previous != "" && !s.rolledBack:
		err = w.moveCurrent(s, s.previous)
		s.rolledBack = true
	case way < 6: // as a rotation does
		id, text := w.newVersion(r, s.name)
		_, err = w.secrets.PutSecretValue(secrets.PutSecretValueInput{
			SecretID: s.name, SecretString: text, ClientRequestToken: id, VersionStages: []string{secrets.Pending},
		})
		if err != nil {
			return "", err
		}
		err = w.moveCurrent(s, id)
		s.rolledBack = false
	default:
		id, text := w.newVersion(r, s.name)
		_, err = w.secrets.PutSecretValue(secrets.PutSecretValueInput{SecretID: s.name, SecretString: text, ClientRequestToken: id})
		s.previous = s.now.version
		s.is(state{version: id})
		s.rolledBack = false
	}
	return event("Secret Label Updated", s.arn, map[string]any{
		"name": s.name, "labelUpdated": secrets.Current, "versionId": s.now.version,
	}), err
}

func (w *world) moveCurrent(s *secret, to string) error {
	_, err := w.secrets.UpdateSecretVersionStage(secrets.UpdateSecretVersionStageInput{
		SecretID: s.name, VersionStage: secrets.Current, RemoveFromVersionID: s.now.version, MoveToVersionID: to,
	})
	s.previous = s.now.version
	s.is(state{version: to})
	return err
}

// apiCall is CloudTrail's event of a call.
func apiCall(name string, s *secret) string {
	return event("AWS API Call via CloudTrail", "", map[string]any{
		"eventVersion": "1.11", "eventSource": "secretsmanager.amazonaws.com", "eventName": name, "awsRegion": region,
		"eventTime": time.Now().UTC().Format(time.RFC3339), "eventID": newID(), "eventType": "AwsApiCall", "readOnly": false,
		"userIdentity":      map[string]any{"type": "AssumedRole", "arn": "arn:aws:sts::" + account + ":assumed-role/payments-operator/j.doe", "accountId": account},
		"requestParameters": map[string]any{"secretId": s.arn}, "responseElements": map[string]any{"arn": s.arn, "name": s.name},
	})
}

// event is EventBridge's envelope (https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html).
func event(detailType, resource string, detail any) string {
	source, resources := "aws.secretsmanager", []string{}
	if resource != "" {
		resources = append(resources, resource)
	}
	if detailType == "Scheduled Event" {
		source = "aws.events"
	}
	text, _ := json.Marshal(map[string]any{ // strings, lists and maps of them always marshal
		"version": "0", "id": newID(), "detail-type": detailType, "source": source, "account": account, "region": region,
		"time": time.Now().UTC().Format(time.RFC3339), "resources": resources, "detail": detail,
	})
	return string(text)
}

func newID() string {
	return fmt.Sprintf("%08x-0000-4000-a000-%012x", rand.Uint32(), rand.Uint64()&0xffffffffffff)
}

// tick invokes the broadcaster as the schedule does, and returns what its answer lacks.
func (w *world) tick(ctx context.Context) error {
	payload := event("Scheduled Event", "arn:aws:events:"+region+":"+account+":rule/"+env+"-"+domain+"-reconcile", struct{}{})
	result, err := w.host.Invoke(ctx, broadcaster, []byte(payload))
	if err == nil && result.FunctionError != "" {
		err = fmt.Errorf("the tick's invocation failed: %s", result.Payload)
	}
	return err
}

// tickAgainAndAgain is the schedule: it does not care whether the broadcaster lives to answer.
func (w *world) tickAgainAndAgain(ctx context.Context) {
	r := w.random(4)
	for pause(ctx, between(r, time.Second, 3*time.Second)) {
		w.counts.ticks.Add(1)
		_ = w.tick(ctx)
	}
}

// settle ends the trouble: Secrets Manager answers with what is now, every message is handled, and the schedule ticks once
// more for what no event told.
func (w *world) settle() {
	w.t.Helper()
	w.settled.Store(true)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.lastAct(ctx)
	if err := w.queue.Wait(ctx); err != nil {
		w.t.Fatal(err)
	}
	if err := w.tick(ctx); err != nil {
		w.t.Fatal(err)
	}
	if err := w.queue.Wait(ctx); err != nil {
		w.t.Fatal(err)
	}
}
