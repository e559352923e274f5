package infra

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestPoliciesAreAsLongAsIAMTakesThem: a managed policy has 6,144 characters without white space, whatever the names are.
func TestPoliciesAreAsLongAsIAMTakesThem(t *testing.T) {
	longest := append([]string{"Env", strings.Repeat("e", 12), "AWS::Partition", "aws-us-gov", "AWS::Region", "ap-southeast-99"}, everyOption()...)
	for id, policy := range domain(t, strings.Repeat("d", 22), longest...).of("AWS::IAM::ManagedPolicy") {
		text, err := json.Marshal(policy.Properties["PolicyDocument"])
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 6144 {
			t.Errorf("%s has %d characters", id, len(text))
		}
	}
}
