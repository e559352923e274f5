package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/internal/local/queue"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/sts"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/subscribers"
)

const (
	// patience is the timeout of every function: far more than any needs, also on a busy machine.
	patience = 30 * time.Second
	// comeBack is the queue's visibility timeout: how soon a message is delivered again if the broadcaster was killed.
	comeBack = 3 * time.Second
	// late is how old the local Secrets Manager's answers are at the most: it is eventually consistent, as AWS's is.
	late = 250 * time.Millisecond
	// trafficEvery is the pause between two invocations of the steady traffic to a function.
	trafficEvery = 40 * time.Millisecond
)

const (
	payments = "payments"
	kyc      = "kyc"
)

// A worldKind says in what a world differs from the others.
type worldKind struct {
	name, title string
	client      Break       // of every environment
	mode        string      // SECRET_BROADCAST_MODE of every environment
	pushes      bool        // the subscriptions are delivered by push
	typescript  []string    // the command of the TypeScript function; nil if there is none
	python      *pythonCode // the Python function; nil if there is none
}

// A world is one run of the story: a cloud, the secrets in it, the functions that read them, and what was seen of it.
type world struct {
	*cloud
	cfg     Config
	kind    worldKind
	values  values
	secrets *secrets.Manager
	gate    *gate
	queue   *queue.Queue // of domain payments
	seen    *sight
	spoken  *transcript

	functions []function
	created   time.Time                  // when the secrets were
	warm      chan struct{}              // closed when every environment is
	steady    map[function]chan struct{} // closed when the traffic has reached it
	stop      context.CancelFunc         // ends traffic and queue
	running   sync.WaitGroup
	held      atomic.Bool // the story is over and judged, and the world goes on

	killing sync.Mutex
}

// A function is a subscribed service with a Lambda function of the same name.
type function struct{ name, domain string }

// reads are the secrets that a domain's functions use.
func (f function) reads() []string {
	if f.domain == kyc {
		return []string{kycToken}
	}
	if f.name == pythonFunction {
		return []string{ConnectionString} // the extension has one TTL for all, and the API key's is short
	}
	return []string{ConnectionString, APIKey}
}

// takesPushes reports whether a function has a client that a push can reach: the extension is asked, and never told.
func (f function) takesPushes() bool { return f.name != pythonFunction }

// functionsOf spreads n functions over the two domains, most of them to payments.
func functionsOf(n int) []function {
	all := make([]function, n)
	ofKYC := max(1, 2*n/5)
	for i := range all {
		all[i] = function{domain: payments, name: fmt.Sprintf("payments-%d", i+1)}
		if i >= n-ofKYC {
			all[i] = function{domain: kyc, name: fmt.Sprintf("kyc-%d", i-n+ofKYC+1)}
		}
	}
	return all
}

// functions returns the n functions of a world, and those in other languages that it has.
func (k worldKind) functions(n int) []function {
	all := functionsOf(n)
	if k.typescript != nil {
		all = append(all, function{name: typescriptFunction, domain: payments})
	}
	if k.python != nil {
		all = append(all, function{name: pythonFunction, domain: payments})
	}
	return all
}

// openWorld makes a world in which nothing has happened yet. It returns nothing that is open with an error.
func openWorld(cfg Config, kind worldKind) (*world, error) {
	w := &world{
		cloud: &cloud{dir: filepath.Join(cfg.Dir, kind.name)}, cfg: cfg, kind: kind,
		values: newValues(), functions: kind.functions(cfg.Functions), seen: newSight(),
		warm: make(chan struct{}), steady: map[function]chan struct{}{}, stop: func() {},
	}
	for _, f := range w.functions {
		w.steady[f] = make(chan struct{})
	}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) open() error {
	calls, err := w.create("broadcasters-calls.jsonl")
	if err != nil {
		return err
	}
	spoken, err := w.create("invocations.jsonl")
	if err != nil {
		return err
	}
	w.spoken = &transcript{file: spoken}
	if w.tables, err = tables.Open(tables.Config{Dir: filepath.Join(w.dir, "tables")}); err != nil {
		return err
	}
	w.host, err = functions.New(functions.Config{Region: region, AccountID: account, Output: w.output, Before: w.beforePush, After: w.afterPush})
	if err != nil {
		return err
	}
	w.secrets = secrets.New(secrets.Config{Region: region, Account: account, Lag: w.lag, OnLabel: w.send})
	w.queue = queue.New(queue.Config{Invoke: w.invokeBroadcaster, VisibilityTimeout: comeBack, Concurrency: 2})
	w.gate = &gate{next: w.secrets, fetches: map[string]int{}}
	if err := w.createTables(payments, kyc); err != nil {
		return err
	}
	if err := w.createSecrets(); err != nil {
		return err
	}
	identity := sts.New(sts.Config{Users: []sts.User{{Key: onCallKey, Secret: onCallSecret, ARN: onCallARN}}})
	err = w.serve(
		route(w.tables, w.gate, w.queue, identity),
		&recorder{next: route(w.tables, w.secrets, w.queue, identity), done: w.noteCall, calls: &transcript{file: calls}},
	)
	if err != nil {
		return err
	}
	w.queueURL = w.queue.URL(w.forBroadcasters)
	return w.deploy()
}

// lag makes half of the answers, but not those that name a version, be of up to a moment ago, as long as the story goes.
func (w *world) lag(r secrets.Read) time.Duration {
	if r.Kind == secrets.Version || rand.IntN(2) == 0 || w.held.Load() {
		return 0
	}
	return min(rand.N(late), time.Since(w.created))
}

func (w *world) createSecrets() error {
	for _, s := range w.values.each() {
		_, err := w.secrets.CreateSecret(secrets.CreateSecretInput{Name: s.name, SecretString: s.old.text, ClientRequestToken: s.old.id})
		if err != nil {
			return fmt.Errorf("creating secret %s: %w", s.name, err)
		}
	}
	w.created = time.Now()
	return nil
}

// deploy makes the functions and, for each domain, its manifest and its broadcaster.
func (w *world) deploy() error {
	for _, domain := range []string{payments, kyc} {
		manifest := filepath.Join(w.dir, domain+".yaml")
		text, err := yaml.Marshal(w.manifest(domain))
		if err != nil {
			return fmt.Errorf("writing the manifest of %s: %w", domain, err)
		}
		if err := os.WriteFile(manifest, text, 0o600); err != nil {
			return fmt.Errorf("writing the manifest of %s: %w", domain, err)
		}
		if err := w.deployBroadcaster(w.cfg.Program, domain, manifest, w.cfg.Commands); err != nil {
			return err
		}
	}
	for _, f := range w.functions {
		if err := w.deployFunction(f); err != nil {
			return err
		}
	}
	return nil
}

// manifest is what the domain's team would have written.
func (w *world) manifest(domain string) subscribers.Manifest {
	m := subscribers.Manifest{APIVersion: subscribers.APIVersion, Env: env, Domain: domain, Owner: domain + "-oncall@bank.example"}
	deliver := "pull"
	if w.kind.pushes {
		deliver = "push"
	}
	for _, f := range w.functions {
		if f.domain == domain && f.takesPushes() {
			m.Services = append(m.Services, subscribers.Service{Name: f.name, Function: f.name, Secrets: []string{"**"}, Deliver: deliver})
		}
	}
	return m
}

// deployFunction makes a subscribed function: this program with another handler, configured as a team configures it.
func (w *world) deployFunction(f function) error {
	changes, _, reports := tablesOf(f.domain)
	command, handler := []string{w.cfg.Program}, []string{"_HANDLER=" + Handler}
	if f.name == typescriptFunction {
		command, handler = w.kind.typescript, handlerOf(w.kind.typescript)
	}
	var extensions [][]string
	if f.name == pythonFunction {
		command, extensions = w.kind.python.command, [][]string{w.kind.python.extension}
	}
	return w.host.Deploy(functions.Function{
		Name: f.name, Command: command, Extensions: extensions, PortVariable: portVariable, Timeout: patience,
		Modified: time.Now().Add(-time.Hour), // so that what its environments report is of this code
		Tags:     map[string]string{invalidation.PushTag: "true", invalidation.EnvTag: env, invalidation.DomainTag: f.domain},
		Env: append(handler,
			"POWERTOOLS_SERVICE_NAME="+f.name,
			"SECRET_BROADCAST_TABLE="+changes,
			"SECRET_BROADCAST_REPORTS_TABLE="+reports,
			"SECRET_BROADCAST_ENV="+env,
			"SECRET_BROADCAST_DOMAIN="+f.domain,
			"SECRET_BROADCAST_CHECK_EVERY="+w.cfg.CheckEvery.String(),
			"SECRET_BROADCAST_MODE="+w.kind.mode,
			"AWS_ENDPOINT_URL_DYNAMODB="+w.forFunctions,
			"AWS_ENDPOINT_URL_SECRETS_MANAGER="+w.forFunctions,
			"SECRET_BROADCAST_ENDPOINT_URL_DYNAMODB="+w.forFunctions,
			"SECRET_BROADCAST_ENDPOINT_URL_SECRETS_MANAGER="+w.forFunctions,
			clientVariable+"="+string(w.kind.client),
			ttlVariable+"="+w.cfg.ttl().String(),
			maxAgeVariable+"="+fmt.Sprint(w.cfg.ttl().Seconds()),
		),
	})
}

// environmentsOf are a function's environments that can still be invoked.
func (w *world) environmentsOf(f function) []functions.Environment {
	var all []functions.Environment
	for _, e := range w.host.Environments() {
		if e.Function == f.name && e.State != functions.Ended {
			all = append(all, e)
		}
	}
	return all
}

// close ends the world's processes. What was seen of it stays.
func (w *world) close() error {
	w.stop()
	w.running.Wait()
	return w.cloud.close()
}

// invokeBroadcaster is the queue's way to the broadcaster of payments.
func (w *world) invokeBroadcaster(ctx context.Context, payload []byte) (answer []byte, functionError string, err error) {
	result, err := w.host.Invoke(ctx, broadcasterOf(payments)+":"+live, payload)
	if err != nil {
		return nil, "", err
	}
	w.spoken.say(broadcasterOf(payments), payload, result.Payload)
	return result.Payload, result.FunctionError, nil
}

// beforePush sees every push before it reaches its function.
func (w *world) beforePush(i functions.Invocation) error {
	if !isInvalidation(i.Payload) || w.held.Load() {
		return nil
	}
	arrived := time.Now()
	w.seen.notePush(i, w.host.Environments())
	if w.cfg.KillBroadcaster && w.killOnce(arrived) || w.cfg.DropPushes {
		w.spoken.say(i.Function, i.Payload, nil)
		return functions.ErrDropConnection
	}
	return nil
}

// killOnce ends the broadcaster's processes at the first push, and loses the pushes that they had already sent.
func (w *world) killOnce(arrived time.Time) (lost bool) {
	w.killing.Lock()
	defer w.killing.Unlock()
	killed := w.seen.all().Killed
	if !killed.At.IsZero() {
		return arrived.Before(killed.At)
	}
	for _, e := range w.host.Environments() {
		if strings.HasPrefix(e.Function, broadcasterOf(payments)) && e.State == functions.Busy {
			killed.PIDs = append(killed.PIDs, e.PID)
			_ = w.host.Kill(e.ID) // its only error is an unknown environment
		}
	}
	killed.At = time.Now()
	w.seen.note(func(s *Seen) { s.Killed = killed })
	return true
}

// afterPush sees the answer of every push that reached an environment.
func (w *world) afterPush(i functions.Invocation, r functions.Result) {
	if isInvalidation(i.Payload) && !w.held.Load() {
		w.spoken.say(i.Function, i.Payload, r.Payload)
		w.seen.noteArrival(i, r)
	}
}
