package secretcache

import (
	"context"
	"sort"
	"time"

	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// reportEvery bounds how often an environment writes its report.
const reportEvery = 10 * time.Second

// renewEvery is how often an environment says again what it has said: a report that is a day old is gone, and a function
// without one is not pushed to.
const renewEvery = 6 * time.Hour

// reporting is the state of an environment's report. Cache.mu guards it.
type reporting struct {
	environment        string // made at first use, so that environments restored from one snapshot differ
	function           string // its ARN, as it was invoked last
	started            time.Time
	takesInvalidations bool
	maxTTL             time.Duration
	due                bool
	sent               *instant
	told               bool // that reports cannot be written
	tells              rarely
	sending            chan struct{} // closed when the report on its way has been written or has failed; nil without one
}

// startReport writes the report if something new is to be told and the last one is long enough ago. It does not wait.
func (c *Cache) startReport() {
	if c.cfg.Reports == nil || c.cfg.Mode == Off {
		return
	}
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &c.report
	switch {
	case c.check != nil:
		return // what it finds is to be told, and it calls this when it ends
	case r.sending != nil, r.sent != nil && now.since(*r.sent) < reportEvery:
		return
	case !r.due && (r.sent == nil || now.since(*r.sent) < renewEvery):
		return
	}
	report, complete := c.buildReport()
	r.due = !complete
	r.sent = &now
	r.sending = make(chan struct{})
	go c.sendReport(report, r.sending)
}

func (c *Cache) sendReport(report wire.Report, done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*c.cfg.CheckTimeout)
	defer cancel()
	err := c.cfg.Reports.Put(ctx, report)
	now := c.now()
	c.mu.Lock()
	tell := c.report.note(err, now)
	if err != nil {
		c.counts.ReportFailures++
	}
	c.report.sending = nil
	c.mu.Unlock()
	if tell {
		c.cfg.Logger.Warn("reports cannot be written: the status lacks this environment, and no push comes", "error", err)
	}
	close(done)
}

// note records what became of a report and returns whether that is to be logged. The caller holds Cache.mu.
func (r *reporting) note(err error, now instant) (tell bool) {
	if err == nil {
		r.told = false
		return false
	}
	r.due = true // the next one tells it all again
	tell = !r.told && r.tells.allows(now)
	r.told = r.told || tell
	return tell
}

// buildReport tells how this environment stands. It is complete if no secret waits to be refetched. The caller holds mu.
func (c *Cache) buildReport() (report wire.Report, complete bool) {
	report = wire.Report{
		Schema: wire.Schema, Client: c.cfg.Client, Env: c.cfg.Env, Domain: c.cfg.Domain, Service: c.cfg.Service,
		Function: c.report.function, Version: c.cfg.Function.Version, Environment: c.environment(), LogStream: c.cfg.Function.LogStream,
		TakesInvalidations: c.report.takesInvalidations, Mode: string(c.cfg.Mode),
		Started: c.report.started.UTC(), Time: time.Now().UTC(),
		Revision: c.cursor.revision, Hash: c.cursor.hash,
		CheckEverySeconds: c.cfg.CheckEvery.Seconds(), MaxTTLSeconds: max(c.cfg.TTL, c.report.maxTTL).Seconds(),
		Counts: c.counts,
	}
	complete = true
	for name, e := range c.entries {
		switch {
		case e.name == "" || !e.tracked || e.lastID == "":
			continue
		case e.held != nil && e.fresh.Load() == nil && e.failed == nil:
			complete = false // marked; the next report tells what became of it
			continue
		}
		report.Secrets = append(report.Secrets, c.outcomeOf(e, name))
	}
	sort.Slice(report.Secrets, func(i, j int) bool { return report.Secrets[i].Name < report.Secrets[j].Name })
	return report, complete
}

// environment returns this environment's id. The caller holds mu.
func (c *Cache) environment() string {
	if c.report.environment == "" {
		c.report.environment = newID()
	}
	return c.report.environment
}

func (c *Cache) newAck() wire.Ack {
	c.mu.Lock()
	defer c.mu.Unlock()
	return wire.Ack{
		Schema: wire.Schema, Client: c.cfg.Client, Service: c.cfg.Service, Function: c.report.function,
		Environment: c.environment(), LogStream: c.cfg.Function.LogStream,
	}
}
