//go:build !lambdaartifact

package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bank-platform/secret-broadcaster/cmd/broadcaster/internal/doctor"
)

func TestWhatTheDoctorFoundIsTold(t *testing.T) {
	well := doctor.Finding{Check: "queue", OK: true}
	ill := doctor.Finding{Check: "event source", Problem: "it is disabled: no message is handled", Fix: "aws lambda update-event-source-mapping --uuid u --enabled"}
	noted := doctor.Finding{Check: "canary", OK: true, Note: "there is none"}
	dark := doctor.Finding{Check: "trail", Problem: "it could not be looked at: x"}
	barred := doctor.Finding{Check: "alarms", Problem: "these credentials may not cloudwatch:DescribeAlarms: x", Fix: "look with others", Lacks: "cloudwatch:DescribeAlarms"}
	for _, c := range []struct {
		findings   []doctor.Finding
		want, fail string
	}{
		{[]doctor.Finding{well, noted}, "ok    queue\nok    canary: there is none\n", ""},
		{
			[]doctor.Finding{well, ill, dark, barred},
			"ok    queue\nwrong event source: it is disabled: no message is handled\n      aws lambda update-event-source-mapping --uuid u --enabled\nwrong trail: it could not be looked at: x\n" +
				"dark  alarms: these credentials may not cloudwatch:DescribeAlarms: x\n      look with others\n",
			"not well, or not looked at: 3 of 4",
		},
	} {
		for _, asJSON := range []bool{false, true} {
			var out bytes.Buffer
			err := tellFindings(&out, c.findings, asJSON)
			if (err == nil) != (c.fail == "") || err != nil && err.Error() != c.fail {
				t.Errorf("got %v, want %s", err, c.fail)
			}
			if !asJSON {
				if diff := cmp.Diff(c.want, out.String()); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				continue
			}
			var is struct{ Findings []doctor.Finding }
			if err := json.Unmarshal(out.Bytes(), &is); err != nil || cmp.Diff(c.findings, is.Findings) != "" {
				t.Errorf("%v: %s", err, &out)
			}
		}
	}
}
