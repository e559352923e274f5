package infra

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWhoMaySendToTheQueue: the domain's rules, encrypted; resource policies stand alone here, as for another service or account.
func TestWhoMaySendToTheQueue(t *testing.T) {
	s := domain(t, "payments")
	policy := document(s, "QueuePolicy")
	rule := arn("events", "rule/prod-payments-secret-label")
	var asked []request
	var wants []string
	add := func(principal, name string, context tree, want string) {
		asked = append(asked, request{Principal: principal, Account: account, Action: "sqs:SendMessage", Resource: queue(name), Context: context, ResourcePolicy: policy})
		wants = append(wants, want)
	}
	const eventBridge, stranger = "events.amazonaws.com", "arn:aws:iam::444455556666:role/r"
	for _, name := range []string{"prod-payments-broadcaster", "prod-payments-broadcaster-dead-letters"} {
		for _, own := range []string{"secret-label", "secret-call", "secret-service", "secret-hint", "broadcaster-tick"} {
			add(eventBridge, name, tree{"aws:SourceArn": arn("events", "rule/prod-payments-"+own), "aws:SecureTransport": "true"}, allowed)
		}
		add(eventBridge, name, tree{"aws:SourceArn": otherRule, "aws:SecureTransport": "true"}, denied)
		add(eventBridge, name, tree{"aws:SourceArn": arn("events", "rule/prod-kyc-secret-label"), "aws:SecureTransport": "true"}, denied)
		add(eventBridge, name, tree{"aws:SourceArn": rule, "aws:SecureTransport": "false"}, never)
		add("sns.amazonaws.com", name, tree{"aws:SourceArn": rule, "aws:SecureTransport": "true"}, denied)
		add(stranger, name, tree{"aws:SecureTransport": "true"}, denied)
	}
	for i, got := range judged(t, asked) {
		if got != wants[i] {
			t.Errorf("%s to %s, %v: %s, want %s", asked[i].Principal, asked[i].Resource, asked[i].Context, got, wants[i])
		}
	}
}

// TestWhoMayPublishAlarms: this account's alarms of this environment, encrypted.
func TestWhoMayPublishAlarms(t *testing.T) {
	policy, mine := document(platform(t), "TopicsPolicy"), arn("cloudwatch", "alarm:prod-payments-broadcaster-canary")
	var asked []request
	var wants []string
	for _, topic := range []string{"prod-secret-broadcaster-page", "prod-secret-broadcaster-ticket"} {
		for _, c := range []struct {
			principal, from, source, encrypted, want string
		}{
			{"cloudwatch.amazonaws.com", account, mine, "true", allowed},
			{"cloudwatch.amazonaws.com", account, mine, "false", never},
			{"cloudwatch.amazonaws.com", account, arn("cloudwatch", "alarm:dev-payments-broadcaster-canary"), "true", denied},
			{"cloudwatch.amazonaws.com", "444455556666", strings.ReplaceAll(mine, account, "444455556666"), "true", denied},
			{"events.amazonaws.com", account, otherRule, "true", denied},
			{"arn:aws:iam::444455556666:role/r", "444455556666", "", "true", denied},
		} {
			context := tree{"aws:SourceAccount": c.from, "aws:SecureTransport": c.encrypted}
			if c.source != "" {
				context["aws:SourceArn"] = c.source
			}
			wants = append(wants, c.want)
			asked = append(asked, request{Principal: c.principal, Account: account, Action: "sns:Publish", Resource: arn("sns", topic), Context: context, ResourcePolicy: policy})
		}
	}
	for i, got := range judged(t, asked) {
		if got != wants[i] {
			t.Errorf("%s to %s, %v: %s, want %s", asked[i].Principal, asked[i].Resource, asked[i].Context, got, wants[i])
		}
	}
}

func TestWhoMayPutHints(t *testing.T) {
	s := platform(t, "HintAccounts", "444455556666,777788889999")
	bus, other := arn("events", "event-bus/default"), arn("events", "event-bus/another")
	hint := tree{"events:source": []string{"secret-broadcaster"}, "events:detail-type": []string{"Secret Change Hint"}}
	forged := tree{"events:source": []string{"secret-broadcaster"}, "events:detail-type": []string{"Deliveries Pending"}}
	foreign := tree{"events:source": []string{"payments"}, "events:detail-type": []string{"Secret Change Hint"}}
	hold(t, "rotation", []any{document(s, "HintPolicy")}, []decision{
		{"events:PutEvents", bus, hint, allowed},
		{"events:PutEvents", bus, forged, denied},
		{"events:PutEvents", bus, foreign, denied},
		{"events:PutEvents", bus, nil, denied},
		{"events:PutEvents", other, hint, denied},
		{"events:PutRule", arn("events", "rule/prod-payments-secret-label"), nil, denied},
	})
	statement := s.resources["HintAccountsPolicy"].Properties["Statement"]
	busPolicy := tree{"Version": "2012-10-17", "Statement": []any{statement}}
	put := tree{"Version": "2012-10-17", "Statement": []any{tree{"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*"}}}
	var asked []request
	var wants []string
	for from, byContext := range map[string]map[string]tree{
		"444455556666": {allowed: hint, denied: forged}, "777788889999": {allowed: hint, denied: foreign}, "000011112222": {denied: hint},
	} {
		for want, context := range byContext {
			wants = append(wants, want)
			asked = append(asked, request{
				Principal: "arn:aws:iam::" + from + ":role/ci", Account: account, Action: "events:PutEvents", Resource: bus,
				Context: context, IdentityPolicies: []any{put}, ResourcePolicy: busPolicy,
			})
		}
	}
	for i, got := range judged(t, asked) {
		if got != wants[i] {
			t.Errorf("%s, %v: %s, want %s", asked[i].Principal, asked[i].Context, got, wants[i])
		}
	}
	if _, has := platform(t).resources["HintAccountsPolicy"]; has {
		t.Error("without HintAccounts there is a policy for them")
	}
}

// TestTheDocumentsPolicyOfHintsIsTheTemplates: who writes its own from docs/events.md has the same.
func TestTheDocumentsPolicyOfHintsIsTheTemplates(t *testing.T) {
	_, after, _ := strings.Cut(string(fileIn(t, root, "docs/events.md")), "needs one permission")
	_, after, _ = strings.Cut(after, "```json\n")
	text, _, _ := strings.Cut(after, "```")
	var documented any
	if err := json.Unmarshal([]byte(text), &documented); err != nil {
		t.Fatal(err)
	}
	made := document(platform(t), "HintPolicy")
	for _, policy := range []any{documented, made} {
		delete(policy.(tree)["Statement"].([]any)[0].(tree), "Sid")
	}
	if diff := cmp.Diff(made, documented); diff != "" {
		t.Errorf("docs/events.md (-template +document):\n%s", diff)
	}
}

// TestTheTagGuard: the service control policy for who may join an audience.
func TestTheTagGuard(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "infra", "tag-guard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var guard any
	if err := json.Unmarshal(text, &guard); err != nil {
		t.Fatal(err)
	}
	admin := tree{"Version": "2012-10-17", "Statement": []any{tree{"Effect": "Allow", "Action": "*", "Resource": "*"}}}
	scp := tree{"Version": "2012-10-17", "Statement": append([]any{tree{"Effect": "Allow", "Action": "*", "Resource": "*"}}, guard.(tree)["Statement"].([]any)...)}
	push, keys := "secret-broadcaster:push", []string{"secret-broadcaster:push", "secret-broadcaster:env", "secret-broadcaster:domain"}
	into := func(env, domain string) tree { // all three tags
		return tree{"aws:RequestTag/secret-broadcaster:env": env, "aws:RequestTag/secret-broadcaster:domain": domain, "aws:TagKeys": keys}
	}
	only := func(key string, more tree) tree { // one tag, with what else there is
		context := tree{"aws:TagKeys": []string{key}}
		maps.Copy(context, more)
		return context
	}
	of := func(env, domain string) tree { // a function that has them already
		return tree{"aws:ResourceTag/secret-broadcaster:env": env, "aws:ResourceTag/secret-broadcaster:domain": domain}
	}
	payments, nobody := [2]string{"prod", "payments"}, [2]string{}
	cases := []struct {
		what, action string
		context      tree
		by           [2]string // env and domain of whoever does it
		want         string
	}{
		{"its own function", "lambda:TagResource", into("prod", "payments"), payments, allowed},
		{"its own function, made with tags", "lambda:CreateFunction", into("prod", "payments"), payments, allowed},
		{"another domain's audience", "lambda:TagResource", into("prod", "kyc"), payments, never},
		{"another domain's audience, at its making", "lambda:CreateFunction", into("prod", "kyc"), payments, never},
		{"a lookalike's audience", "lambda:TagResource", into("prod", "payments-archive"), payments, never},
		{"another environment's audience", "lambda:TagResource", into("prod", "payments"), [2]string{"dev", "payments"}, never},
		{"another environment's audience, at its making", "lambda:CreateFunction", into("prod", "payments"), [2]string{"dev", "payments"}, never},
		{"its own function into another environment", "lambda:TagResource", only("secret-broadcaster:env", tree{
			"aws:RequestTag/secret-broadcaster:env": "prod", "aws:ResourceTag/secret-broadcaster:env": "dev", "aws:ResourceTag/secret-broadcaster:domain": "payments",
		}), [2]string{"dev", "payments"}, never},
		{"without a domain of its own", "lambda:TagResource", into("prod", "payments"), [2]string{"prod", ""}, never},
		{"without an environment of its own", "lambda:TagResource", into("prod", "payments"), [2]string{"", "payments"}, never},
		{"push alone, without a domain of its own", "lambda:TagResource", only(push, nil), nobody, never},
		{"push in other letters, without a domain of its own", "lambda:TagResource", only("Secret-Broadcaster:Push", nil), nobody, never},
		{"push alone, of a function of its own", "lambda:TagResource", only(push, of("prod", "payments")), payments, allowed},
		{"push alone, of another domain's function", "lambda:TagResource", only(push, of("prod", "kyc")), payments, never},
		{"push in other letters, of another domain's function", "lambda:TagResource", only("Secret-Broadcaster:push", of("prod", "kyc")), payments, never},
		{"push alone, of another environment's function", "lambda:TagResource", only(push, of("dev", "payments")), payments, never},
		{"untags another domain's function", "lambda:UntagResource", only(push, of("prod", "kyc")), payments, never},
		{"untags another environment's function", "lambda:UntagResource", only(push, of("dev", "payments")), payments, never},
		{"untags, without a domain of its own", "lambda:UntagResource", only(push, nil), nobody, never},
		{"tags that are not ours", "lambda:TagResource", only("team", tree{"aws:RequestTag/team": "x"}), nobody, allowed},
		// docs/security.md says so: nothing tells whose function without tags is, and one that is just being made has none either.
		{"another team's function without tags", "lambda:TagResource", into("prod", "payments"), payments, allowed},
	}
	var asked []request
	for _, c := range cases {
		for i, tag := range []string{"env", "domain"} {
			if c.by[i] != "" {
				c.context["aws:PrincipalTag/secret-broadcaster:"+tag] = c.by[i]
			}
		}
		asked = append(asked, request{
			Principal: "arn:aws:iam::" + account + ":role/r", Account: account, Action: c.action, Resource: function("f"),
			Context: c.context, IdentityPolicies: []any{admin}, ServiceControlPolicy: scp,
		})
	}
	for i, got := range judged(t, asked) {
		if got != cases[i].want {
			t.Errorf("%s: %s, want %s", cases[i].what, got, cases[i].want)
		}
	}
}
