package doctor

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// rarest is how seldom the template lets ticks be.
const rarest = 15 * time.Minute

// lookAtSchedule looks at whether a rule ticks, and how often.
func (p *patient) lookAtSchedule(rules []rule) {
	const check = "schedule"
	var tick rule
	every := time.Duration(0)
	for _, r := range rules {
		if r.on && r.schedule != "" && (every == 0 || intervalOf(r.schedule) < every) {
			tick, every = r, intervalOf(r.schedule)
		}
	}
	switch {
	case tick.name == "":
		p.ill(check, "no enabled rule ticks: a change whose event is lost ends with the TTL (a schedule of EventBridge Scheduler is not seen here)", p.redeploy())
	case every > rarest:
		p.ill(check, fmt.Sprintf("it ticks by %s: a change whose event is lost may wait as long, and %v is the most", tick.schedule, rarest),
			fmt.Sprintf("aws events put-rule --name %s --event-bus-name %s --schedule-expression 'rate(5 minutes)'", tick.name, tick.bus))
	default:
		p.tick = every
		p.well(check)
	}
}

// intervalOf returns how often a schedule comes; of cron, which says when and not how often, it is taken to be the rarest that
// there may be.
func intervalOf(schedule string) time.Duration {
	rate, is := strings.CutPrefix(schedule, "rate(")
	number, unit, _ := strings.Cut(strings.TrimSuffix(rate, ")"), " ")
	n, err := strconv.Atoi(number)
	if !is || err != nil {
		return rarest
	}
	switch strings.TrimSuffix(unit, "s") {
	case "minute":
		return time.Duration(n) * time.Minute
	case "hour":
		return time.Duration(n) * time.Hour
	}
	return time.Duration(n) * 24 * time.Hour
}
