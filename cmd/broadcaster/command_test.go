package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

const oncall = "arn:aws:sts::" + account + ":assumed-role/oncall/alice"

// vouching knows whose proofs are: package sts has AWS say it, and its tests hold it to that.
type vouching map[string]string

var errNoProof = errors.New("no proof")

func (v vouching) Caller(_ context.Context, proof, digest string) (string, error) {
	if who, ok := v[proof+" "+digest]; ok {
		return who, nil
	}
	return "", errNoProof
}

// order sends an order through the alias, as somebody who proves who they are.
func (l *lab) order(alias string, o order) (pauseAnswer, error) {
	l.Helper()
	l.handler.callers = vouching{"proof " + o.digest(): oncall}
	return l.send(alias, commandPayload{&command{o, "proof"}})
}

func (l *lab) send(alias string, payload any) (pauseAnswer, error) {
	l.Helper()
	is, err := l.carry(alias, payload)
	a, _ := is.(pauseAnswer)
	return a, err
}

// carry invokes the function through an alias, and returns what it answers.
func (l *lab) carry(alias string, payload any) (any, error) {
	l.Helper()
	time.Sleep(time.Second)
	ctx, cancel := context.WithTimeout(lambdacontext.NewContext(l.Context(), &lambdacontext.LambdaContext{
		AwsRequestID: fmt.Sprint("request-", alias, time.Now().Unix()), InvokedFunctionArn: "arn:aws:lambda:eu-west-2:" + account + ":function:prod-payments-broadcaster" + alias,
	}), time.Minute)
	defer cancel()
	text, err := json.Marshal(payload)
	if err != nil {
		l.Fatal(err)
	}
	return l.handler.serve(ctx, text)
}

func pauseOrder() order {
	return order{Name: "pause", Env: "prod", Domain: "payments", Reason: "INC-4711: every push fails"}
}

func resumeOrder() order {
	return order{Name: "resume", Env: "prod", Domain: "payments", Reason: "INC-4711: 1.2.1 is live"}
}

// TestPauseAndResume: what is changed meanwhile is in the log at once, and pushed when the pause ends; both are recorded.
func TestPauseAndResume(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		a, err := l.order(":pause", pauseOrder())
		began := time.Now().UTC()
		want := pauseAnswer{Name: "pause", By: oncall, Is: invalidation.Pause{Paused: true, By: oncall, Reason: pauseOrder().Reason, At: began}}
		if diff := cmp.Diff(want, a); err != nil || diff != "" {
			t.Fatalf("%v (-want +got)\n%s", err, diff)
		}
		l.measured()
		l.receive(messages(moved(neon, l.put(t, neon, "two"))))
		l.wantHead(3)
		l.wantMeasured(map[metricName][]float64{appended: {1}, paused: {1}, pending: {1}, openFanouts: {1}})
		if n := len(l.pushes()); n != 1 {
			t.Errorf("%d pushes, want the one of before", n)
		}
		if d, open := l.deliveries(t, 3); !open || d[0].Outcome != invalidation.Pending || d[0].Reason != invalidation.Paused {
			t.Errorf("deliveries %+v, open %t", d, open)
		}
		l.receive(messages(tick))
		l.wantMeasured(map[metricName][]float64{heartbeat: {1}, paused: {1}})

		dry := resumeOrder()
		dry.DryRun = true
		if a, err := l.order(":resume", dry); err != nil || !a.DryRun || !a.Was.Paused || a.Is.Paused || a.OpenFanouts != 1 || len(l.pushes()) != 1 {
			t.Errorf("dry run: got %+v, %v", a, err)
		}
		a, err = l.order(":resume", resumeOrder())
		want = pauseAnswer{Name: "resume", By: oncall, Was: want.Is, Is: invalidation.Pause{By: oncall, Reason: resumeOrder().Reason, At: time.Now().UTC()}}
		if diff := cmp.Diff(want, a); err != nil || diff != "" {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
		l.wantMeasured(map[metricName][]float64{acknowledged: {1}, pending: {0}, openFanouts: {0}, paused: {0}})
		if pushes := l.pushes(); len(pushes) != 2 || pushes[1].Detail.Revision != 3 {
			t.Errorf("%d pushes", len(pushes))
		}
		got, err := l.store().Commands(t.Context())
		for i := range got {
			got[i].At, got[i].RequestID = time.Time{}, got[i].RequestID[:len("request-:pause")]
		}
		records := []invalidation.Command{
			{Name: "pause", By: oncall, Reason: pauseOrder().Reason, RequestID: "request-:pause"},
			{Name: "resume", By: oncall, Reason: resumeOrder().Reason, RequestID: "request-:resum"},
		}
		if diff := cmp.Diff(records, got); err != nil || diff != "" {
			t.Errorf("%v, records (-want +got)\n%s", err, diff)
		}
		if n := strings.Count(l.logs.String(), `"msg":"a command was recorded"`); n != 2 {
			t.Errorf("%d commands are logged", n)
		}
	})
}

// TestAPauseOverAPauseHidesNothing: since when pushes are held back, and who did it and why, stays; both are recorded.
func TestAPauseOverAPauseHidesNothing(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		first, err := l.order(":pause", pauseOrder())
		if err != nil {
			t.Fatal(err)
		}
		again := pauseOrder()
		again.Reason = "is it paused?"
		for records, dry := range []bool{true, false} {
			again.DryRun = dry
			a, err := l.order(":pause", again)
			if diff := cmp.Diff(first.Is, a.Is); err != nil || diff != "" || a.Was != a.Is {
				t.Errorf("dry run %t: %v, was %+v (-want +got)\n%s", dry, err, a.Was, diff)
			}
			if is, err := l.store().Commands(t.Context()); err != nil || len(is) != 1+records {
				t.Errorf("dry run %t: %d records, %v", dry, len(is), err)
			}
		}
		if p, err := l.store().Pause(t.Context()); err != nil || p != first.Is {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// TestACommandThatIsRefusedChangesNothing.
func TestACommandThatIsRefusedChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		alias string
		edit  func(*order)
		want  string
	}{
		"no alias":            {"", nil, "the command pause is taken through the alias pause only"},
		"the events' alias":   {":live", nil, "the command pause is taken through the alias pause only"},
		"another's alias":     {":resume", nil, "the command pause is taken through the alias pause only"},
		"another domain":      {":pause", func(o *order) { o.Domain = "kyc" }, "this is the broadcaster of prod/payments, and the command is for prod/kyc"},
		"another env":         {":pause", func(o *order) { o.Env = "dev" }, "this is the broadcaster of prod/payments, and the command is for dev/payments"},
		"no reason":           {":pause", func(o *order) { o.Reason = " " }, "say why, with --reason: it is recorded"},
		"a reason of lines":   {":pause", func(o *order) { o.Reason = "a\nb" }, "the reason must be one line of at most 500 bytes"},
		"a long reason":       {":pause", func(o *order) { o.Reason = strings.Repeat("x", 501) }, "the reason must be one line of at most 500 bytes"},
		"an unknown command":  {":stop", func(o *order) { o.Name = "stop" }, "the command is not known"},
		"a dry run elsewhere": {":live", func(o *order) { o.DryRun = true }, "the command pause is taken through the alias pause only"},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				o := pauseOrder()
				if c.edit != nil {
					c.edit(&o)
				}
				if _, err := l.order(c.alias, o); err == nil || err.Error() != c.want {
					t.Errorf("got %v, want %s", err, c.want)
				}
				l.wantNoCommand(t)
			})
		})
	}
}

func (l *lab) wantNoCommand(t *testing.T) {
	t.Helper()
	p, err := l.store().Pause(t.Context())
	records, problem := l.store().Commands(t.Context())
	if err != nil || problem != nil || p.Paused || len(records) > 0 {
		t.Errorf("pause %+v, records %+v, %v, %v", p, records, err, problem)
	}
}

// TestWhoDoesNotProveWhoTheyAreIsRefused: also with another command's proof.
func TestWhoDoesNotProveWhoTheyAreIsRefused(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		dry := pauseOrder()
		dry.DryRun = true
		l.handler.callers = vouching{"proof " + dry.digest(): oncall}
		for _, proof := range []string{"", "proof"} {
			if _, err := l.send(":pause", commandPayload{&command{pauseOrder(), proof}}); !errors.Is(err, errNoProof) {
				t.Errorf("proof %q: got %v", proof, err)
			}
		}
		l.wantNoCommand(t)
	})
}

// TestEveryPartOfAnOrderIsProved.
func TestEveryPartOfAnOrderIsProved(t *testing.T) {
	digests := map[string]bool{pauseOrder().digest(): true}
	for _, edit := range []func(*order){
		func(o *order) { o.Name = "resume" }, func(o *order) { o.Env = "dev" }, func(o *order) { o.Domain = "kyc" },
		func(o *order) { o.Reason = "another" }, func(o *order) { o.DryRun = true },
		func(o *order) { o.Details = json.RawMessage(`{"secret":"one"}`) }, func(o *order) { o.Details = json.RawMessage(`{"secret":"two"}`) },
	} {
		o := pauseOrder()
		edit(&o)
		if digests[o.digest()] {
			t.Errorf("%+v has another order's digest", o)
		}
		digests[o.digest()] = true
	}
}

// TestNoEventIsACommand: whoever may put events or messages gives no orders by that.
func TestNoEventIsACommand(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.handler.callers = vouching{"proof " + pauseOrder().digest(): oncall}
		order, err := json.Marshal(commandPayload{&command{pauseOrder(), "proof"}})
		if err != nil {
			t.Fatal(err)
		}
		for name, payload := range map[string]string{
			"in a message":  messages(string(order)),
			"in an event":   `{"id":"e","source":"secret-broadcaster","detail-type":"Secret Change Hint","detail":` + string(order) + `}`,
			"in a list":     "[" + string(order) + "]",
			"as no command": `{"secretBroadcasterCommand":null}`,
		} {
			is, err := l.send(":pause", json.RawMessage(payload))
			if is.Name != "" {
				t.Errorf("%s: got %+v, %v", name, is, err)
			}
		}
		l.wantNoCommand(t)
	})
}

// TestAResumeWhoseDeliveriesFailIsStillOne: what is left is tried again as ever.
func TestAResumeWhoseDeliveriesFailIsStillOne(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		if _, err := l.order(":pause", pauseOrder()); err != nil {
			t.Fatal(err)
		}
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		l.on(func(w *world) {
			w.answer = func(out http.ResponseWriter, _ wire.Invalidation) bool {
				out.Header().Set("X-Amzn-Errortype", "TooManyRequestsException")
				out.WriteHeader(http.StatusTooManyRequests)
				return true
			}
		})
		if a, err := l.order(":resume", resumeOrder()); err != nil || a.OpenFanouts != 1 || len(l.resumes) != 1 {
			t.Errorf("got %+v, %v and %d messages to ourselves", a, err, len(l.resumes))
		}
	})
}
