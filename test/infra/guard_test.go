package infra

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
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
	tags := func(domain string) tree {
		return tree{"aws:RequestTag/secret-broadcaster:domain": domain, "aws:TagKeys": []string{"secret-broadcaster:push", "secret-broadcaster:domain"}}
	}
	cases := []struct {
		what, action string
		context      tree
		mine, want   string
	}{
		{"its own function", "lambda:TagResource", tags("payments"), "payments", allowed},
		{"its own function, made with tags", "lambda:CreateFunction", tags("payments"), "payments", allowed},
		{"another domain's audience", "lambda:TagResource", tags("kyc"), "payments", never},
		{"another domain's audience, at its making", "lambda:CreateFunction", tags("kyc"), "payments", never},
		{"a lookalike's audience", "lambda:TagResource", tags("payments-archive"), "payments", never},
		{"without a domain of its own", "lambda:TagResource", tags("payments"), "", never},
		{"push alone, without a domain of its own", "lambda:TagResource", tree{"aws:TagKeys": []string{"secret-broadcaster:push"}}, "", never},
		{"push alone, of a function of its own", "lambda:TagResource", tree{"aws:TagKeys": []string{"secret-broadcaster:push"}, "aws:ResourceTag/secret-broadcaster:domain": "payments"}, "payments", allowed},
		{"push alone, of another domain's function", "lambda:TagResource", tree{"aws:TagKeys": []string{"secret-broadcaster:push"}, "aws:ResourceTag/secret-broadcaster:domain": "kyc"}, "payments", never},
		{"untags another domain's function", "lambda:UntagResource", tree{"aws:TagKeys": []string{"secret-broadcaster:push"}, "aws:ResourceTag/secret-broadcaster:domain": "kyc"}, "payments", never},
		{"tags that are not ours", "lambda:TagResource", tree{"aws:TagKeys": []string{"team"}, "aws:RequestTag/team": "x"}, "", allowed},
	}
	var asked []request
	for _, c := range cases {
		if c.mine != "" {
			c.context["aws:PrincipalTag/secret-broadcaster:domain"] = c.mine
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
