package main

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	awssecretsmanager "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/invalidation"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// measured returns what was measured since the last call.
func (l *lab) measured() map[metricName][]float64 {
	l.Helper()
	m := readEMF(l.T, l.metrics.String())
	l.metrics.Reset()
	return m.values
}

// wantMeasured compares some metrics: those that are named. One that has no value must not be there.
func (l *lab) wantMeasured(want map[metricName][]float64) {
	l.Helper()
	all := l.measured()
	got := map[metricName][]float64{}
	for name := range want {
		got[name] = all[name]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		l.Errorf("(-want +got)\n%s", diff)
	}
}

// sent is a message that the queue has had for a while.
func sent(event string, before time.Duration) string {
	return strings.Replace(messages(event), `"messageId":`, fmt.Sprintf(`"attributes":{"SentTimestamp":"%d"},"messageId":`, time.Now().Add(-before).UnixMilli()), 1)
}

func TestWhatBecomesOfEventsIsCounted(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		version := l.put(t, neon, "one")
		const rotation = `{"id":"w","source":"aws.secretsmanager","detail-type":"AWS Service Event via CloudTrail",
			"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":"RotationFailed","additionalEventData":{"SecretId":"arn:aws:secretsmanager:eu-west-2:` + account + `:secret:` + neon + `-a1B2c3"}}}`
		const archive = "/bank/prod/payments-archive/neon/connection-string"
		if _, err := l.invoke(messages(moved(neon, version), rotation, moved(archive, "v"), hint("mySecret"), "no JSON", `{"source":"aws.ec2","detail-type":"x"}`)); err != nil {
			t.Fatal(err)
		}
		l.wantMeasured(map[metricName][]float64{
			received: {6}, appended: {1}, duplicates: {0}, unchanged: {0}, ignored: {2}, malformed: {1}, unknown: {1}, misrouted: {1}, failed: {0}, warnings: {1},
			heartbeat: nil, missedFound: nil, behind: nil, checkFailures: nil, recentlyReadDeleted: {0},
			acknowledged: {1}, undelivered: {0}, skipped: {1}, pending: {0}, openFanouts: {0}, paused: {0},
			eventToAppend: {0}, appendToAck: {0}, // in the bubble nothing takes time but what waits
		})
		l.receive(messages(moved(neon, version)))
		l.receive(messages(hint(neon)))
		l.wantMeasured(map[metricName][]float64{received: {1, 1}, appended: {0, 0}, duplicates: {1, 0}, unchanged: {0, 1}, eventToAppend: nil, appendToAck: nil, acknowledged: {0, 0}, openFanouts: {0, 0}})
		l.on(func(w *world) {
			w.onCall = func(_ *http.Request, operation, _ string) *refusal {
				if operation == "DescribeSecret" {
					return &refusal{http.StatusBadRequest, "AccessDeniedException"}
				}
				return nil
			}
		})
		l.receive(messages(hint(neon)), "m1")
		l.wantMeasured(map[metricName][]float64{received: {1}, failed: {1}})
	})
}

// TestTimeToAppendCountsFromTheQueue, and to the ack from the append.
func TestTimeToAppendCountsFromTheQueue(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.on(func(w *world) {
			w.onPush = func(*http.Request) { time.Sleep(70 * time.Millisecond) }
		})
		l.receive(messages(tick))
		l.measured()
		l.receive(sent(moved(neon, l.put(t, neon, "one")), 3*time.Second)) // invoke waits one second more
		l.wantMeasured(map[metricName][]float64{eventToAppend: {4000}, appendToAck: {70}})
	})
}

// TestWhatIsLeftIsMeasured: a function that is throttled, and then one that fails for good.
func TestWhatIsLeftIsMeasured(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		refuse := func(kind string, status int) {
			l.on(func(w *world) {
				w.answer = func(out http.ResponseWriter, _ wire.Invalidation) bool {
					out.Header().Set("X-Amzn-Errortype", kind)
					out.WriteHeader(status)
					return true
				}
			})
		}
		refuse("TooManyRequestsException", http.StatusTooManyRequests)
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		l.wantMeasured(map[metricName][]float64{acknowledged: {0}, undelivered: {0}, pending: {1}, openFanouts: {1}, appendToAck: nil})
		l.receive(messages(hint("mySecret"))) // nothing is due yet
		l.wantMeasured(map[metricName][]float64{pending: {1}, openFanouts: {1}, skipped: {0}})
		refuse("AccessDeniedException", http.StatusForbidden)
		time.Sleep(time.Minute)
		l.receive(messages(hint("mySecret")))
		l.wantMeasured(map[metricName][]float64{undelivered: {1}, pending: {0}, openFanouts: {0}})
	})
}

// TestDeliveriesOfALogThatWasReplacedAreNotPending: a restore may have left them.
func TestDeliveriesOfALogThatWasReplacedAreNotPending(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		old := invalidation.Delivery{Revision: 2, Hash: "of before", Subscription: "payments-old", Function: "payments-old", Outcome: invalidation.Pending}
		if err := l.store().Record(t.Context(), []invalidation.Delivery{old}); err != nil {
			t.Fatal(err)
		}
		l.on(func(w *world) {
			w.answer = func(out http.ResponseWriter, _ wire.Invalidation) bool {
				out.Header().Set("X-Amzn-Errortype", "TooManyRequestsException")
				out.WriteHeader(http.StatusTooManyRequests)
				return true
			}
		})
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		l.wantMeasured(map[metricName][]float64{pending: {1}, openFanouts: {1}})
	})
}

// TestWhatCannotBeReadHasNoValue: not as if all were well.
func TestWhatCannotBeReadHasNoValue(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(tick))
		l.measured()
		l.on(func(w *world) {
			w.onCall = func(_ *http.Request, operation, _ string) *refusal {
				if strings.HasPrefix(operation, "Query") || operation == "GetItem" {
					return &refusal{http.StatusBadRequest, "AccessDeniedException"}
				}
				return nil
			}
		})
		l.receive(messages(tick), "m1")
		l.wantMeasured(map[metricName][]float64{pending: nil, openFanouts: nil, paused: nil, behind: nil, checkFailures: nil, heartbeat: nil, missedFound: {0}})
	})
}

func TestATickIsMeasured(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.put(t, neon, "one")
		l.receive(messages(tick, tick))
		l.wantMeasured(map[metricName][]float64{received: {2}, heartbeat: {2}, missedFound: {0}, behind: {0}, checkFailures: {0}, paused: {0}})
		time.Sleep(5 * time.Minute)
		l.put(t, neon, "two")
		l.receive(messages(tick))
		l.wantMeasured(map[metricName][]float64{heartbeat: {1}, missedFound: {1}, acknowledged: {1}})
		l.on(func(w *world) {
			w.onCall = func(_ *http.Request, operation, _ string) *refusal {
				if operation == "ListSecrets" {
					return &refusal{http.StatusBadRequest, "AccessDeniedException"}
				}
				return nil
			}
		})
		l.receive(messages(tick)) // it looks for nothing: it has not beaten; but how environments stand is known
		l.wantMeasured(map[metricName][]float64{heartbeat: nil, missedFound: {0}, behind: {0}})
	})
}

// TestSecretsThatATickCannotDescribeHaveFailed: no event will come back for them.
func TestSecretsThatATickCannotDescribeHaveFailed(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.put(t, neon, "one")
		l.on(func(w *world) {
			w.onCall = func(_ *http.Request, operation, _ string) *refusal {
				if operation == "DescribeSecret" {
					return &refusal{http.StatusBadRequest, "AccessDeniedException"}
				}
				return nil
			}
		})
		l.receive(messages(tick))
		l.wantMeasured(map[metricName][]float64{heartbeat: {1}, failed: {0, 1}})
	})
}

func TestHowEnvironmentsStandIsMeasured(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		report := func(environment string, revision, failures int64) {
			l.report(t, wire.Report{
				Schema: wire.Schema, Service: "payments-api", Environment: environment, Revision: revision, Time: time.Now(), CheckEverySeconds: 2,
				Counts: wire.Counts{CheckFailures: failures},
			})
		}
		l.receive(messages(moved(neon, l.put(t, neon, "one")))) // revision 2
		time.Sleep(time.Minute)
		report("late", 1, 0)
		report("troubled", 2, 5)
		l.receive(messages(tick))
		all := l.measured()
		if all[behind][0] != 1 || all[checkFailures][0] != 5 || !strings.Contains(l.logs.String(), `"msg":"an environment is behind"`) {
			t.Errorf("behind %v, failures %v", all[behind], all[checkFailures])
		}
		l.receive(messages(tick)) // the same reports: nothing new
		l.wantMeasured(map[metricName][]float64{behind: {1}, checkFailures: {0}})
		report("late", 2, 0)
		report("troubled", 2, 7)
		report("new", 2, 1)
		l.restart() // another process knows what was counted
		l.receive(messages(tick))
		l.wantMeasured(map[metricName][]float64{behind: {0}, checkFailures: {3}})
	})
}

// TestTheDeletionOfASecretInUse: told in the invocation that appends it, before a push is even tried.
func TestTheDeletionOfASecretInUse(t *testing.T) {
	for name, c := range map[string]struct {
		age  time.Duration // of the report
		read string        // the secret that the environment holds
		down bool          // reports cannot be read
		want float64
	}{
		"read":                      {time.Hour, neon, false, 1},
		"read by who reads all day": {6 * time.Hour, neon, false, 1},
		"read yesterday":            {7 * time.Hour, neon, false, 0},
		"another is read":           {time.Hour, "/bank/prod/payments/stripe/api-key", false, 0},
		"nobody can tell":           {7 * time.Hour, neon, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				l.receive(messages(moved(neon, l.put(t, neon, "one"))))
				l.report(t, wire.Report{
					Schema: wire.Schema, Service: "payments-api", Environment: "e", Revision: 2, Time: time.Now(), CheckEverySeconds: 2,
					Secrets: []wire.SecretOutcome{{Name: c.read, Outcome: wire.Applied}},
				})
				time.Sleep(c.age)
				id := neon
				if _, err := awssecretsmanager.NewFromConfig(l.config(l.secrets.RoundTripper())).DeleteSecret(t.Context(), &awssecretsmanager.DeleteSecretInput{SecretId: &id}); err != nil {
					t.Fatal(err)
				}
				l.measured()
				told := ""
				l.on(func(w *world) {
					w.onPush = func(*http.Request) { told = l.metrics.String() }
					w.onCall = func(_ *http.Request, _, body string) *refusal {
						if c.down && strings.Contains(body, reportsTable) {
							return &refusal{http.StatusBadRequest, "AccessDeniedException"}
						}
						return nil
					}
				})
				l.receive(messages(hint(neon)))
				if got := readEMF(t, told).values[recentlyReadDeleted]; !c.down && !slices.Equal(got, []float64{c.want}) {
					t.Errorf("when the first push arrives it is said to be %v", got)
				}
				l.wantMeasured(map[metricName][]float64{appended: {1}, recentlyReadDeleted: {c.want}})
			})
		})
	}
}

// TestATickThatFindsADeletionTellsToo.
func TestATickThatFindsADeletionTellsToo(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.receive(messages(moved(neon, l.put(t, neon, "one"))))
		l.report(t, wire.Report{Schema: wire.Schema, Service: "payments-api", Environment: "e", Time: time.Now(), Secrets: []wire.SecretOutcome{{Name: neon}}})
		time.Sleep(time.Minute)
		id := neon
		if _, err := awssecretsmanager.NewFromConfig(l.config(l.secrets.RoundTripper())).DeleteSecret(t.Context(), &awssecretsmanager.DeleteSecretInput{SecretId: &id}); err != nil {
			t.Fatal(err)
		}
		l.measured()
		l.receive(messages(tick))
		l.wantMeasured(map[metricName][]float64{recentlyReadDeleted: {0, 1}, missedFound: {1}})
	})
}

func TestFailedChecksAreCountedOnce(t *testing.T) {
	report := func(environment string, age time.Duration, failures int64) wire.Report {
		return wire.Report{Environment: environment, Time: time.Now().Add(-age), Counts: wire.Counts{CheckFailures: failures}}
	}
	now, more := tally(map[string]int64{"gone": 9, "known": 2, "restarted": 5}, []wire.Report{
		report("known", 0, 4), report("restarted", 0, 1), report("well", 0, 0), report("forged", 0, -1), report("new", 0, 3), report("known", time.Hour, 3),
	})
	if diff := cmp.Diff(map[string]int64{"known": 4, "restarted": 1, "new": 3}, now); diff != "" || more != 5 {
		t.Errorf("%d more, want 5; (-want +got)\n%s", more, diff)
	}
	var many []wire.Report
	for i := range maxTallied + 100 {
		many = append(many, report(fmt.Sprintf("%016d0000000000000000", i), 0, 1))
	}
	if now, _ := tally(nil, many); len(now) != maxTallied {
		t.Errorf("%d environments are kept, want %d", len(now), maxTallied)
	}
}

const metricsDocument = "../../docs/metrics.md"

// The table of docs/metrics.md is generated: go test -update writes it.
func TestTheDocumentListsEveryMetric(t *testing.T) {
	rows := []string{"| metric | unit | statistic | has a value | meaning |", "|---|---|---|---|---|"}
	for _, m := range metrics() {
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s | %s |", m.name, m.unit, m.statistic, m.told, m.says))
	}
	generated(t, metricsDocument, "metrics", strings.Join(rows, "\n"))
}

// TestEveryMetricIsListed: a name that nothing lists would be written nowhere.
func TestEveryMetricIsListed(t *testing.T) {
	code, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, match := range regexp.MustCompile(`metricName = "(\w+)"`).FindAllStringSubmatch(string(code), -1) {
		named[match[1]] = true
	}
	listed := map[string]bool{}
	for _, m := range metrics() {
		listed[string(m.name)] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(named)), slices.Sorted(maps.Keys(listed))); diff != "" || len(named) == 0 {
		t.Errorf("(-named +listed)\n%s", diff)
	}
}
