package invalidation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/bank-platform/secret-broadcaster/events"
	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/invalidation/wire"
)

// hostileNames are of payments, of its neighbours, and of nobody. Those that Secrets Manager takes exist.
func hostileNames() []string {
	return []string{
		"/bank/prod/payments/neon/key", "/bank/prod/payments/neon/key-a1B2c3", "/bank/prod/payments/a/b/c/d",
		"/bank/prod/payments-archive/neon/key", "/bank/prod/payment/neon/key", "/bank/prod/kyc/neon/key", "/bank/test/payments/neon/key",
		"/bank/prod/payments/../kyc/neon/key", "/bank/prod/kyc/../payments/neon/key", "/bank/prod//payments/neon/key", "/bank/prod/payments//key",
		"/bank/prod/payments/", "/bank/prod/payments", "bank/prod/payments/neon/key", "//bank/prod/payments/neon/key", "/Bank/prod/payments/neon/key",
		"/bank/prod/payments/neon/key\n/bank/prod/kyc/neon/key", "/bank/prod/payments/neon/*", "/bank/prod/*/neon/key", "mySecret", "",
	}
}

// hostileEvents draws an event in one of the shapes, whose places disagree about the secret.
func hostileEvents() *rapid.Generator[string] {
	names := rapid.SampledFrom(hostileNames())
	arn := func(t *rapid.T, label string) string {
		account := rapid.SampledFrom([]string{"111122223333", "111122223333", "444455556666"}).Draw(t, label+" account")
		region := rapid.SampledFrom([]string{"eu-west-2", "eu-west-2", "us-east-1"}).Draw(t, label+" region")
		suffix := rapid.SampledFrom([]string{"-a1B2c3", "-a1B2c3", ""}).Draw(t, label+" suffix")
		return "arn:aws:secretsmanager:" + region + ":" + account + ":secret:" + names.Draw(t, label) + suffix
	}
	return rapid.Custom(func(t *rapid.T) string {
		detail := map[string]any{}
		event := map[string]any{
			"id": "event-1", "source": "aws.secretsmanager", "account": "111122223333", "region": "eu-west-2",
			"time": time.Now().UTC().Format(time.RFC3339), "resources": []string{arn(t, "resource")}, "detail": detail,
		}
		id := func(label string) string {
			if rapid.Bool().Draw(t, label+" is an ARN") {
				return arn(t, label)
			}
			return names.Draw(t, label)
		}
		switch rapid.IntRange(0, 3).Draw(t, "shape") {
		case 0:
			event["detail-type"] = "Secret Label Updated"
			detail["name"], detail["labelUpdated"], detail["versionId"] = names.Draw(t, "name"), "AWSCURRENT", version(1)
		case 1:
			event["source"], event["detail-type"] = "secret-broadcaster", "Secret Change Hint"
			detail["name"] = names.Draw(t, "name")
		case 2:
			event["detail-type"] = "AWS API Call via CloudTrail"
			detail["eventSource"] = "secretsmanager.amazonaws.com"
			detail["eventName"] = rapid.SampledFrom([]string{"PutSecretValue", "UpdateSecret", "DeleteSecret", "RestoreSecret", "CreateSecret"}).Draw(t, "call")
			detail["requestParameters"] = map[string]any{"secretId": id("id"), "name": names.Draw(t, "new name"), "clientRequestToken": version(1)}
			if rapid.Bool().Draw(t, "answered") {
				detail["responseElements"] = map[string]any{rapid.SampledFrom([]string{"arn", "aRN"}).Draw(t, "spelling"): arn(t, "answer")}
			}
		case 3:
			event["detail-type"] = "AWS Service Event via CloudTrail"
			detail["eventSource"], detail["eventName"] = "secretsmanager.amazonaws.com", "RotationSucceeded"
			detail["additionalEventData"] = map[string]any{"SecretId": arn(t, "secret")}
		}
		text, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	})
}

// TestNothingLeavesItsDomain: whatever an event says, payments' broadcaster writes, tells and pushes of its own secrets only.
func TestNothingLeavesItsDomain(t *testing.T) {
	const own = "/bank/prod/payments/"
	signals, pushes := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		told := rapid.SliceOfN(hostileEvents(), 1, 6).Draw(rt, "events")
		var problems []string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			for _, name := range hostileNames() {
				_, _ = w.secrets.CreateSecret(secrets.CreateSecretInput{Name: name, SecretString: "placeholder"}) // some names are refused
			}
			var held []string
			b := w.broadcaster(pushedTo(func(_ context.Context, function string, inv wire.Invalidation) ([]byte, error) {
				pushes++
				for _, c := range inv.Detail.Changes {
					if !strings.HasPrefix(c.Name, own) || inv.Detail.Domain != "payments" || inv.Detail.Env != "prod" {
						problems = append(problems, fmt.Sprintf("%s was told of %q", function, c.Name))
					}
				}
				return encoded(t, ackOf(inv.Detail)), nil
			}))
			for _, event := range told {
				for _, r := range events.Parse([]byte(event)) {
					if r.Outcome != events.Signaled {
						continue
					}
					signals++
					_, _ = b.Confirm(t.Context(), []events.Signal{r.Signal}) // what it comes to is in the tables
				}
			}
			if err := b.Deliver(t.Context()); err != nil {
				problems = append(problems, err.Error())
			}
			rows, err := w.store.Secrets(t.Context())
			if err != nil {
				problems = append(problems, err.Error())
			}
			for _, row := range rows {
				held = append(held, row.Name)
			}
			for _, row := range w.rows() {
				for _, c := range row.Changes {
					held = append(held, c.Name)
				}
			}
			for _, name := range held {
				if !strings.HasPrefix(name, own) {
					problems = append(problems, fmt.Sprintf("the tables hold %q", name))
				}
			}
		})
		if len(problems) > 0 {
			rt.Fatalf("%s\nafter\n%s", strings.Join(problems, "\n"), strings.Join(told, "\n"))
		}
	})
	if signals == 0 || pushes == 0 {
		t.Errorf("%d signals, %d pushes: nothing was tried", signals, pushes)
	}
}
