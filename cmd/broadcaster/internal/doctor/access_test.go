package doctor_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
)

// A policy is one of a role.
type policy struct {
	Version   string
	Statement []map[string]any
}

func (p policy) String() string {
	text, err := json.Marshal(p)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// documented is the broadcaster's policy as docs/operating.md shows it, in this account, and what it says beside it of the log.
func (d *domain) documented() policy {
	d.Helper()
	text, err := os.ReadFile("../../../../docs/operating.md")
	d.must(err)
	_, rest, _ := strings.Cut(string(text), "```json\n")
	shown, _, _ := strings.Cut(rest, "```")
	var is policy
	d.must(json.Unmarshal([]byte(strings.ReplaceAll(shown, "111122223333", d.account)), &is))
	is.Statement = append(is.Statement, map[string]any{
		"Sid": "Log", "Effect": "Allow", "Action": []any{"logs:CreateLogStream", "logs:PutLogEvents"}, "Resource": d.arn("logs", "log-group:/aws/lambda/"+function+":*"),
	})
	return is
}

// without takes a policy's statements of these names away.
func (p policy) without(sids ...string) policy {
	p.Statement = slices.DeleteFunc(slices.Clone(p.Statement), func(s map[string]any) bool { return slices.Contains(sids, s["Sid"].(string)) })
	return p
}

// and allows more.
func (p policy) and(resource string, actions ...string) policy {
	p.Statement = append(slices.Clone(p.Statement), map[string]any{"Sid": "More", "Effect": "Allow", "Action": actions, "Resource": resource})
	return p
}

// accessTroubles are what may be wrong with what IAM and the queue allow.
func accessTroubles() []trouble {
	role := func(name string, edit func(*domain, policy) policy, want ...string) trouble {
		return trouble{
			name, func(d *domain) { d.allow(function, edit(d, d.documented()).String()) }, func(d *domain) { d.allow(function, d.documented().String()) }, want,
		}
	}
	queue := func(name, text string, want ...string) trouble {
		return trouble{
			name, func(d *domain) { d.queue("Policy", strings.ReplaceAll(text, "ACCOUNT", d.account)) },
			func(d *domain) {
				d.letIn(d.arn("events", "rule/prod-payments-secret-call"), d.arn("events", "rule/prod-payments-broadcaster-tick"))
			}, want,
		}
	}
	const (
		rules  = `"aws:SourceArn":"arn:aws:events:*:ACCOUNT:rule/prod-payments-*"`
		closed = `{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`
		sends  = `{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":["sqs:SendMessage"],"Resource":"*","Condition":{"StringLike":{` + rules + `}}}`
	)
	statements := func(all ...string) string {
		return `{"Version":"2012-10-17","Statement":[` + strings.Join(all, ",") + `]}`
	}
	return []trouble{
		role("nothing can be pushed", func(_ *domain, p policy) policy { return p.without("Push") },
			"role: it may not lambda:InvokeFunction, lambda:GetFunctionConfiguration, lambda:GetAlias, lambda:ListTags of "),
		role("it cannot log", func(_ *domain, p policy) policy { return p.without("Log") }, "role: it may not logs:CreateLogStream, logs:PutLogEvents of "),
		role("values are not denied any more", func(_ *domain, p policy) policy { return p.without("NoValue") },
			"role: it is not denied to secretsmanager:GetSecretValue, …secretsmanager:RotateSecret of …/bank/prod/payments/", "role: it is not denied to "),
		role("values of others may be read", func(d *domain, p policy) policy {
			return p.without("NoValue").and(d.arn("secretsmanager", "secret:/bank/prod/kyc/*"), "secretsmanager:GetSecretValue")
		}, "role: it is not denied to ", "role: it is not denied to "),
		role("values may be changed", func(_ *domain, p policy) policy {
			return p.without("NoValue").and("*", "secretsmanager:BatchGetSecretValue", "secretsmanager:UpdateSecret", "secretsmanager:DeleteSecret")
		}, "role: it is not denied to ", "role: it is not denied to "),
		role("the log may be changed", func(_ *domain, p policy) policy { return p.and("*", "dynamodb:DeleteItem", "dynamodb:UpdateItem") },
			"role: it may dynamodb:UpdateItem, dynamodb:DeleteItem of …prod-payments-changes, and must not", "role: it may dynamodb:UpdateItem, dynamodb:DeleteItem of …prod-payments-reports"),
		role("whatever is there may be invoked", func(_ *domain, p policy) policy { return p.and("*", "lambda:InvokeFunction") },
			"role: it may lambda:InvokeFunction of …and must not", "role: it may lambda:InvokeFunction of …and must not"),
		{
			"the queue has a key that the role may not use", func(d *domain) { d.queue("KmsMasterKeyId", d.arn("kms", "key/k")) }, func(d *domain) { d.queue("KmsMasterKeyId", "") },
			[]string{"role: it may not kms:Decrypt, kms:GenerateDataKey of …key/k", "role: it may not kms:Decrypt of …key/k"},
		},
		{
			"the queue has a key that the role may use through the queue only",
			func(d *domain) {
				d.queue("KmsMasterKeyId", d.arn("kms", "key/k"))
				p := d.documented().and(d.arn("kms", "key/k"), "kms:Decrypt", "kms:GenerateDataKey")
				p.Statement[len(p.Statement)-1]["Condition"] = map[string]any{"StringEquals": map[string]string{"kms:ViaService": "sqs.eu-west-2.amazonaws.com"}}
				d.allow(function, p.String())
			},
			func(d *domain) { d.queue("KmsMasterKeyId", ""); d.allow(function, d.documented().String()) },
			[]string{"role: it may not kms:Decrypt of …key/k"},
		},
		queue("EventBridge is shut out", statements(closed),
			"queue policy: it does not let EventBridge send for prod-payments-broadcaster-tick, prod-payments-secret-call…→ aws sqs set-queue-attributes --queue-url …events.amazonaws.com"),
		queue("EventBridge is denied", statements(closed, sends, `{"Effect":"Deny","Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*","Condition":{"StringEquals":{"aws:SourceAccount":"ACCOUNT"}}}`),
			"queue policy: it does not let EventBridge send for prod-payments-broadcaster-tick, prod-payments-secret-call"),
		queue("EventBridge is let in another way, as far as can be read", statements(closed,
			`{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":["sqs:SendMessage"],"Resource":"*","Condition":{"StringLike":{`+rules+`},"StringEquals":{"aws:sourceaccount":["1","ACCOUNT"]},"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}}`,
			`{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}`,
			`{"Effect":"Deny","Principal":"*","Action":"sqs:SendMessage","Resource":"*","Condition":{"StringEquals":{"aws:SourceAccount":"1"}}}`)),
		queue("the queue is open to everybody", statements(closed, sends, `{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}`),
			"queue policy: it lets others than the domain's rules: * may sqs:* → aws sqs set-queue-attributes"),
		queue("the queue is open to another account", statements(closed, sends, `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"sqs:SendMessage","Resource":"*"}`),
			"queue policy: it lets others than the domain's rules: arn:aws:iam::444455556666:root may sqs:SendMessage"),
		queue("EventBridge may do more than send", statements(closed, strings.Replace(sends, "sqs:SendMessage", "sqs:*", 1)),
			"queue policy: it lets others than the domain's rules: events.amazonaws.com may sqs:*"),
		queue("the queue takes any rule", statements(closed, strings.Replace(sends, rules, `"aws:SourceArn":"*"`, 1)),
			"queue policy: it lets others than the domain's rules: any rule may send"),
		queue("the queue takes what is unencrypted", statements(sends), "queue policy: it does not deny what comes unencrypted"),
	}
}
