package demo

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The judge is tested from inside: a run in which a guarantee does not hold cannot be made with a client that is whole.

func at(s float64) time.Time {
	return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

// reading is one invocation of an environment of payments.
func reading(host string, sent float64, connection, key string) Read {
	return Read{
		Host: host, PID: 100 + number(host), Function: "payments-1", Sent: at(sent), Got: at(sent + 0.01),
		Versions: map[string]string{ConnectionString: connection, APIKey: key},
	}
}

// wellDone are three worlds as they should be: the change at 10 s, its append at 10.1 s, CheckEvery 2 s, so that every
// read from 12.1 s on must know; the API key changes at 10 s too, and its TTL of 3 s ends at 13.25 s.
func wellDone() (Config, []evidence, Leaks) {
	cfg := Config{CheckEvery: 2 * time.Second}
	one := func(connection string, pushes ...Push) evidence {
		e := evidence{
			Seen: Seen{
				Changed: at(10), Appended: at(10.1), KeyChanged: at(10), Pushes: pushes,
				Frozen: []string{"payments-1#1", "payments-1#2"},
			},
			functions: []function{{"payments-1", payments}, {"kyc-1", kyc}},
			readsLog:  true, oldID: "old", newID: "new", newKey: "new key",
			fetches: map[string]int{ConnectionString: 6, APIKey: 6, kycToken: 1},
		}
		for _, host := range []string{"payments-1#1", "payments-1#2", "payments-1#3"} {
			e.Reads = append(e.Reads, reading(host, 9, "old", "old key"), reading(host, 12.2, connection, "old key"), reading(host, 14, connection, "new key"))
		}
		e.Reads = append(e.Reads, Read{Host: "kyc-1#1", Function: "kyc-1", Sent: at(9), Got: at(9.1), Versions: map[string]string{kycToken: "old"}})
		return e
	}
	push := Push{RequestID: "1", Function: "payments-1", At: at(10.2), Host: "payments-1#3"}
	all := []evidence{one("new", push), one("old", push), one("old")}
	all[1].Reads = append(all[1].Reads, reading("payments-1#3", 15, "new", "new key"))
	return cfg, all, Leaks{Files: 3, Bytes: 1000}
}

func TestTheJudgeFindsEachViolation(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(cfg *Config, all []evidence, leaks *Leaks)
		want  []string // the statements' guarantees and details
	}{
		{"nothing is wrong", func(*Config, []evidence, *Leaks) {}, nil},
		{"a stale read", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Reads[1].Versions[ConnectionString] = "old"
		}, []string{"G1: payments-1#1 answered with the old version 2.21 s after the change"}},
		{"a stale read that was sent in time", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Reads[1].Versions[ConnectionString], all[0].Reads[1].Sent = "old", at(12.1)
		}, nil},
		{"an environment that is not read again", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Reads = slices.Delete(all[0].Reads, 1, 3)
		}, []string{"G1: payments-1#1 was not read again"}},
		{"an API key older than its TTL", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Reads[5].Versions[APIKey] = "old key"
		}, []string{"G1: payments-1#2 answered with the old API key 4.01 s after it changed"}},
		{"no read after the TTL", func(_ *Config, all []evidence, _ *Leaks) {
			for i := range all[0].Reads {
				if all[0].Reads[i].Sent.Equal(at(14)) {
					all[0].Reads[i].Sent = at(13.2)
				}
			}
		}, []string{"G1: nobody read the API key after its TTL had ended"}},
		{"a failed request", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Reads[0].Problem = "it failed"
		}, []string{"G2: payments-1#1: it failed"}},
		{"the old version after the new one", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Reads = append(all[0].Reads, reading("payments-1#1", 11, "new", "old key"), reading("payments-1#1", 12, "old", "old key"))
		}, []string{"G3: payments-1#1 answered with the old version after the new one"}},
		{"the old version beside the new one", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Reads = append(all[0].Reads, reading("payments-1#1", 11, "new", "old key"), reading("payments-1#1", 11.005, "old", "old key"))
		}, nil},
		{"a push that did not arrive", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Pushes[0].Host = ""
		}, []string{"G4: payments-1 got no invalidation"}},
		{"a push from before the broadcaster's end only", func(cfg *Config, all []evidence, _ *Leaks) {
			cfg.KillBroadcaster, all[0].Killed = true, Kill{[]int{7}, at(10.3)}
		}, []string{"G4: payments-1 got no invalidation"}},
		{"a broadcaster that was not there to be killed", func(cfg *Config, _ []evidence, _ *Leaks) {
			cfg.KillBroadcaster = true
		}, []string{": it was not running at the first push"}},
		{"a push that arrived although it was to be lost", func(cfg *Config, _ []evidence, _ *Leaks) {
			cfg.DropPushes = true
		}, []string{"G4: 1 pushes arrived although all were to be lost"}},
		{"pushes to be lost, but none was tried", func(cfg *Config, all []evidence, _ *Leaks) {
			cfg.DropPushes, all[0].Pushes = true, nil
		}, []string{"G4: no push to payments-1 was tried"}},
		{"a value in a file", func(_ *Config, _ []evidence, leaks *Leaks) {
			leaks.Found = []string{"log/logs/x.log"}
		}, []string{"G5: log/logs/x.log"}},
		{"a scan that saw nothing", func(_ *Config, _ []evidence, leaks *Leaks) {
			leaks.Files = 0
		}, []string{"G5: there was nothing to look for"}},
		{"a push to another domain", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Pushes = append(all[0].Pushes, Push{Function: "kyc-1", At: at(11)})
		}, []string{"G6: kyc-1 got an invalidation"}},
		{"a needless fetch", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].fetches[kycToken] = 2
		}, []string{"G7: 1 environments fetched /bank/demo/kyc/sanctions/api-token 2 times"}},
		{"an environment that was replaced", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Reads[1].PID = 7
		}, []string{": payments-1#1 was process 101 and is 7"}},
		{"too few frozen environments", func(_ *Config, all []evidence, _ *Leaks) {
			all[0].Frozen = []string{"payments-1#1", "kyc-1#1"}
		}, []string{": only 1 of 3"}},
		{"push that reached everybody", func(_ *Config, all []evidence, _ *Leaks) {
			all[1].Reads = slices.Clone(all[0].Reads)
		}, []string{": it reached everybody this time"}},
		{"a TTL that was soon enough", func(_ *Config, all []evidence, _ *Leaks) {
			all[2].Reads = slices.Clone(all[0].Reads)
		}, []string{": 3 of 3 were current"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, all, leaks := wellDone()
			c.spoil(&cfg, all, &leaks)
			var worlds []WorldReport
			for _, e := range all {
				worlds = append(worlds, e.report(cfg, worldKind{}))
			}
			var got []string
			for _, v := range judge(cfg, all, worlds, leaks) {
				if !v.Held {
					got = append(got, v.Guarantee+": "+v.Detail)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("what did not hold (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHowAnEnvironmentLearned(t *testing.T) {
	cfg, all, _ := wellDone()
	e := all[0]
	e.Reads = append(e.Reads,
		reading("payments-1#4", 13, "new", "new key"),                                                   // started after the change
		reading("payments-1#2", 10.3, "old", "old key"),                                                 // thawed, and not yet current
		Read{Host: "payments-1#5", Function: "payments-1", Sent: at(13), Versions: map[string]string{}}, // it read nothing
	)
	slices.SortStableFunc(e.Reads, func(a, b Read) int { return a.Got.Compare(b.Got) })
	got := map[string]string{}
	for _, env := range e.environments(cfg) {
		got[env.Environment] = env.Learned
	}
	want := map[string]string{
		"payments-1#1": "log, at its first read after the thaw", "payments-1#2": "log", "payments-1#3": "push", "payments-1#4": "its own fetch",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	e.readsLog = false
	if env := e.environments(cfg)[0]; env.Learned != "its TTL" {
		t.Errorf("without a log: %q, want its TTL", env.Learned)
	}
}
