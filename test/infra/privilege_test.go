package infra

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The answers of IAM.
const (
	allowed = "Allowed"
	denied  = "ImplicitlyDenied"
	never   = "ExplicitlyDenied" // whatever else allows it
)

const (
	keyARN    = "arn:aws:kms:eu-west-2:111122223333:key/0a1b2c3d"
	otherRule = "arn:aws:events:eu-west-2:111122223333:rule/another-rule"
)

// A decision is one line of the specification: whether a principal may do something to a resource, in a context.
type decision struct {
	action, resource string
	context          tree
	want             string
}

func arn(service, rest string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, region, account, rest)
}

func secret(name string) string   { return arn("secretsmanager", "secret:"+name+"-a1B2c3") }
func table(name string) string    { return arn("dynamodb", "table/"+name) }
func function(name string) string { return arn("lambda", "function:"+name) }
func queue(name string) string    { return arn("sqs", name) }

// tagged is the context of a function with these tags: push, env, domain; an empty one is not there.
func tagged(push, env, domain string) tree {
	is := tree{}
	for name, value := range map[string]string{"push": push, "env": env, "domain": domain} {
		if value != "" {
			is["aws:ResourceTag/secret-broadcaster:"+name] = value
		}
	}
	return is
}

// rolePolicies returns the policies of the broadcaster's role.
func rolePolicies(s stack) []any { return inline(s, "Role") }

func inline(s stack, role string) []any {
	var all []any
	for _, p := range s.resources[role].Properties["Policies"].([]any) {
		all = append(all, p.(tree)["PolicyDocument"])
	}
	return all
}

// canaryPolicies returns those of the canary's role: its own, and that of the domain's clients.
func canaryPolicies(t testing.TB, s stack) []any {
	t.Helper()
	if attached := s.resources["CanaryRole"].Properties["ManagedPolicyArns"]; fmt.Sprint(attached) != fmt.Sprintf("[arn:aws:iam::%s:policy/%s]", account, s.resources["ClientPolicy"].Properties["ManagedPolicyName"]) {
		t.Fatalf("the canary's role has %v", attached)
	}
	return append(inline(s, "CanaryRole"), document(s, "ClientPolicy"))
}

func document(s stack, id string) any { return s.resources[id].Properties["PolicyDocument"] }

func platform(t testing.TB, more ...string) stack {
	t.Helper()
	parameters := map[string]string{"Env": "prod"}
	for i := 0; i+1 < len(more); i += 2 {
		parameters[more[i]] = more[i+1]
	}
	return render(t, "platform.yaml", parameters)
}

// hold asks IAM for each decision about a principal with these policies.
func hold(t *testing.T, principal string, policies []any, decisions []decision) {
	t.Helper()
	var asked []request
	for _, d := range decisions {
		resource := d.resource
		if resource == "" {
			resource = "*"
		}
		var keyPolicy any
		if strings.HasPrefix(d.action, "kms:") { // as AWS makes it: IAM decides
			keyPolicy = tree{"Version": "2012-10-17", "Statement": []any{tree{
				"Effect": "Allow", "Principal": tree{"AWS": "arn:aws:iam::" + account + ":root"}, "Action": "kms:*", "Resource": "*",
			}}}
		}
		asked = append(asked, request{
			Principal: "arn:aws:iam::" + account + ":role/" + principal, Account: account,
			Action: d.action, Resource: resource, Context: d.context, IdentityPolicies: policies, ResourcePolicy: keyPolicy,
		})
	}
	for i, got := range judged(t, asked) {
		if d := decisions[i]; got != d.want {
			t.Errorf("%s, %s of %s, %v: %s, want %s", principal, d.action, d.resource, d.context, got, d.want)
		}
	}
}

func TestTheBroadcasterMay(t *testing.T) {
	own, lookalike, other := "/bank/prod/payments/neon/connection-string", "/bank/prod/payments-archive/neon/connection-string", "/bank/prod/kyc/onfido/api-token"
	hold(t, "prod-payments-broadcaster-eu-west-2", rolePolicies(domain(t, "payments")), []decision{
		// Ask what is current, of its own domain's secrets only.
		{"secretsmanager:DescribeSecret", secret(own), nil, allowed},
		{"secretsmanager:DescribeSecret", secret(lookalike), nil, denied},
		{"secretsmanager:DescribeSecret", secret(other), nil, denied},
		{"secretsmanager:DescribeSecret", secret("/bank/dev/payments/neon/connection-string"), nil, denied},
		{"secretsmanager:DescribeSecret", "arn:aws:secretsmanager:eu-central-1:111122223333:secret:" + own + "-a1B2c3", nil, denied},
		{"secretsmanager:ListSecrets", "", nil, allowed}, // AWS cannot scope it: the one exception
		// Read or write no value, whatever else allows it.
		{"secretsmanager:GetSecretValue", secret(own), nil, never},
		{"secretsmanager:GetSecretValue", secret(other), nil, never},
		{"secretsmanager:BatchGetSecretValue", "", nil, never},
		{"secretsmanager:PutSecretValue", secret(own), nil, never},
		{"secretsmanager:UpdateSecret", secret(own), nil, never},
		{"secretsmanager:UpdateSecretVersionStage", secret(own), nil, never},
		{"secretsmanager:DeleteSecret", secret(own), nil, never},
		{"secretsmanager:RestoreSecret", secret(own), nil, never},
		{"secretsmanager:RotateSecret", secret(own), nil, never},
		{"secretsmanager:PutResourcePolicy", secret(own), nil, denied},
		{"kms:Decrypt", keyARN, tree{"kms:ViaService": "secretsmanager.eu-west-2.amazonaws.com"}, denied},
		// Append to its own log; change or remove nothing of it.
		{"dynamodb:Query", table("prod-payments-changes"), nil, allowed},
		{"dynamodb:PutItem", table("prod-payments-changes"), nil, allowed},
		{"dynamodb:ConditionCheckItem", table("prod-payments-changes"), nil, allowed},
		{"dynamodb:UpdateItem", table("prod-payments-changes"), nil, denied},
		{"dynamodb:DeleteItem", table("prod-payments-changes"), nil, denied},
		{"dynamodb:BatchWriteItem", table("prod-payments-changes"), nil, denied},
		{"dynamodb:Scan", table("prod-payments-changes"), nil, denied},
		{"dynamodb:DeleteTable", table("prod-payments-changes"), nil, denied},
		{"dynamodb:UpdateTimeToLive", table("prod-payments-changes"), nil, denied},
		// Keep its own books.
		{"dynamodb:GetItem", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:BatchGetItem", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:Query", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:PutItem", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:BatchWriteItem", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:DeleteItem", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:Scan", table("prod-payments-operations"), nil, denied},
		// Read reports, write none.
		{"dynamodb:Query", table("prod-payments-reports"), nil, allowed},
		{"dynamodb:PutItem", table("prod-payments-reports"), nil, denied},
		{"dynamodb:Scan", table("prod-payments-reports"), nil, denied},
		// Invoke the functions that its domain tagged, and look at them.
		{"lambda:InvokeFunction", function("payments-api"), tagged("true", "prod", "payments"), allowed},
		{"lambda:InvokeFunction", function("payments-api:live"), tagged("true", "prod", "payments"), allowed},
		{"lambda:GetFunctionConfiguration", function("payments-api"), tagged("true", "prod", "payments"), allowed},
		{"lambda:GetAlias", function("payments-api"), tagged("true", "prod", "payments"), allowed},
		{"lambda:ListTags", function("payments-api"), tagged("true", "prod", "payments"), allowed},
		{"lambda:InvokeFunction", function("payments-api"), nil, denied},
		{"lambda:InvokeFunction", function("payments-api"), tagged("", "prod", "payments"), denied},
		{"lambda:InvokeFunction", function("payments-api"), tagged("false", "prod", "payments"), denied},
		{"lambda:InvokeFunction", function("payments-api"), tagged("true", "", "payments"), denied},
		{"lambda:InvokeFunction", function("payments-api"), tagged("true", "prod", ""), denied},
		{"lambda:InvokeFunction", function("payments-api"), tagged("true", "dev", "payments"), denied},
		{"lambda:InvokeFunction", function("kyc-api"), tagged("true", "prod", "kyc"), denied},
		{"lambda:InvokeFunction", function("archive"), tagged("true", "prod", "payments-archive"), denied},
		{"lambda:GetFunctionConfiguration", function("kyc-api"), tagged("true", "prod", "kyc"), denied},
		{"lambda:ListTags", function("kyc-api"), tagged("true", "prod", "kyc"), denied},
		{"lambda:UpdateFunctionCode", function("payments-api"), tagged("true", "prod", "payments"), denied},
		{"lambda:UpdateFunctionConfiguration", function("payments-api"), tagged("true", "prod", "payments"), denied},
		{"lambda:TagResource", function("payments-api"), tagged("true", "prod", "payments"), denied},
		{"lambda:AddPermission", function("payments-api"), tagged("true", "prod", "payments"), denied},
		// Use its own queue.
		{"sqs:ReceiveMessage", queue("prod-payments-broadcaster"), nil, allowed},
		{"sqs:DeleteMessage", queue("prod-payments-broadcaster"), nil, allowed},
		{"sqs:GetQueueAttributes", queue("prod-payments-broadcaster"), nil, allowed},
		{"sqs:SendMessage", queue("prod-payments-broadcaster"), nil, allowed},
		{"sqs:PurgeQueue", queue("prod-payments-broadcaster"), nil, denied},
		{"sqs:ReceiveMessage", queue("prod-payments-broadcaster-dead-letters"), nil, denied},
		// Write its own log group.
		{"logs:PutLogEvents", arn("logs", "log-group:/aws/lambda/prod-payments-broadcaster:log-stream:a"), nil, allowed},
		{"logs:PutLogEvents", arn("logs", "log-group:/aws/lambda/prod-kyc-broadcaster:log-stream:a"), nil, denied},
		{"logs:DeleteLogGroup", arn("logs", "log-group:/aws/lambda/prod-payments-broadcaster"), nil, denied},
		// Become nobody else.
		{"sts:AssumeRole", "arn:aws:iam::111122223333:role/prod-kyc-broadcaster-eu-west-2", nil, denied},
		{"iam:PassRole", "arn:aws:iam::111122223333:role/prod-kyc-broadcaster-eu-west-2", nil, denied},
	})
}

// TestADomainsBroadcasterHasNothingOfAnothers: whatever it may do to its own, it may not do to another's, lookalikes included.
func TestADomainsBroadcasterHasNothingOfAnothers(t *testing.T) {
	for _, mine := range neighbours() {
		var decisions []decision
		for _, yours := range neighbours() {
			want := denied
			if mine == yours {
				want = allowed
			}
			decisions = append(
				decisions,
				decision{"secretsmanager:DescribeSecret", secret("/bank/prod/" + yours + "/neon/password"), nil, want},
				decision{"lambda:InvokeFunction", function("some-function"), tagged("true", "prod", yours), want},
				decision{"sqs:ReceiveMessage", queue("prod-" + yours + "-broadcaster"), nil, want},
				decision{"sqs:SendMessage", queue("prod-" + yours + "-broadcaster"), nil, want},
				decision{"dynamodb:PutItem", table("prod-" + yours + "-changes"), nil, want},
				decision{"dynamodb:Query", table("prod-" + yours + "-changes"), nil, want},
				decision{"dynamodb:DeleteItem", table("prod-" + yours + "-operations"), nil, want},
				decision{"dynamodb:Query", table("prod-" + yours + "-reports"), nil, want},
				decision{"dynamodb:Query", table("dev-" + yours + "-changes"), nil, denied},
			)
		}
		hold(t, "prod-"+mine+"-broadcaster-eu-west-2", rolePolicies(domain(t, mine)), decisions)
	}
}

// TestNobodyHereCanReadAValue: none of the policies, with every option on, allows it; the broadcaster's role is refused even where
// the secret's own policy allows it.
func TestNobodyHereCanReadAValue(t *testing.T) {
	full := domain(t, "payments", everyOption()...)
	policies := map[string][]any{
		"broadcaster": rolePolicies(full),
		"client":      {document(full, "ClientPolicy")},
		"on-call":     {document(full, "OnCallPolicy")},
		"plan":        {document(full, "PlanPolicy")},
		"apply":       {document(full, "ApplyPolicy")},
		"hint":        {document(platform(t), "HintPolicy")},
		"canary":      canaryPolicies(t, full), // which has one secret of its own, and that is not one that anybody uses
	}
	own := secret("/bank/prod/payments/neon/connection-string")
	open := tree{"Version": "2012-10-17", "Statement": []any{tree{"Effect": "Allow", "Principal": tree{"AWS": "*"}, "Action": "secretsmanager:*", "Resource": "*"}}}
	for principal, has := range policies {
		want := denied
		if principal == "broadcaster" {
			want = never
		}
		via := tree{"kms:ViaService": "secretsmanager.eu-west-2.amazonaws.com"}
		hold(t, principal, has, []decision{
			{"secretsmanager:GetSecretValue", own, nil, want},
			{"secretsmanager:BatchGetSecretValue", "", nil, want},
			{"kms:Decrypt", keyARN, via, denied},
			{"kms:GenerateDataKey", keyARN, via, denied},
		})
	}
	opened := request{
		Principal: "arn:aws:iam::" + account + ":role/r", Account: account, Action: "secretsmanager:GetSecretValue", Resource: own, ResourcePolicy: open,
	}
	asked := []request{opened, opened}
	asked[0].IdentityPolicies = policies["broadcaster"]
	if got := judged(t, asked); got[0] != never || got[1] != allowed {
		t.Errorf("where the secret's policy allows everybody: the broadcaster %s, another role %s", got[0], got[1])
	}
}

// everyOption are values for all parameters that add something.
func everyOption() []string {
	return []string{
		"KmsKeyArn", keyARN, "VpcSubnetIds", "subnet-1,subnet-2", "VpcSecurityGroupIds", "sg-1", "Tracing", "Active",
		"PermissionsBoundary", "arn:aws:iam::111122223333:policy/boundary", "RolePath", "/platform/",
		"CodeSigningConfigArn", "arn:aws:lambda:eu-west-2:111122223333:code-signing-config:csc-0123456789abcdef0",
	}
}

func TestOptionsAddNoMoreThanTheyNeed(t *testing.T) {
	full := domain(t, "payments", everyOption()...)
	eni, self := arn("ec2", "network-interface/eni-1"), tree{"lambda:SourceFunctionArn": function("prod-payments-broadcaster")}
	hold(t, "broadcaster", rolePolicies(full), []decision{
		{"kms:Decrypt", keyARN, tree{"kms:ViaService": "dynamodb.eu-west-2.amazonaws.com"}, allowed},
		{"kms:GenerateDataKey", keyARN, tree{"kms:ViaService": "sqs.eu-west-2.amazonaws.com"}, allowed},
		{"kms:Decrypt", keyARN, nil, denied},
		{"kms:Decrypt", arn("kms", "key/another"), tree{"kms:ViaService": "dynamodb.eu-west-2.amazonaws.com"}, denied},
		{"kms:CreateGrant", keyARN, tree{"kms:ViaService": "dynamodb.eu-west-2.amazonaws.com"}, denied},
		{"ec2:DeleteNetworkInterface", eni, nil, allowed},
		{"ec2:DeleteNetworkInterface", eni, self, never}, // Lambda may, the function's code may not
		{"xray:PutTraceSegments", "", nil, allowed},
	})
	hold(t, "client", []any{document(full, "ClientPolicy")}, []decision{
		{"kms:Decrypt", keyARN, tree{"kms:ViaService": "dynamodb.eu-west-2.amazonaws.com"}, allowed},
		{"kms:Decrypt", keyARN, nil, denied},
		{"kms:Encrypt", keyARN, tree{"kms:ViaService": "dynamodb.eu-west-2.amazonaws.com"}, denied},
	})
	hold(t, "broadcaster", rolePolicies(domain(t, "payments")), []decision{
		{"kms:Decrypt", keyARN, tree{"kms:ViaService": "dynamodb.eu-west-2.amazonaws.com"}, denied},
		{"ec2:DeleteNetworkInterface", eni, nil, denied},
		{"xray:PutTraceSegments", "", nil, denied},
	})
	role := full.resources["Role"].Properties
	if role["PermissionsBoundary"] != "arn:aws:iam::111122223333:policy/boundary" || role["Path"] != "/platform/" {
		t.Errorf("the role has the boundary %v and the path %v", role["PermissionsBoundary"], role["Path"])
	}
}

func TestAClientMay(t *testing.T) {
	hold(t, "payments-api", []any{document(domain(t, "payments"), "ClientPolicy")}, []decision{
		{"dynamodb:Query", table("prod-payments-changes"), nil, allowed},
		{"dynamodb:PutItem", table("prod-payments-reports"), nil, allowed},
		// It cannot write the log, nor read or remove what others report.
		{"dynamodb:PutItem", table("prod-payments-changes"), nil, denied},
		{"dynamodb:UpdateItem", table("prod-payments-changes"), nil, denied},
		{"dynamodb:DeleteItem", table("prod-payments-changes"), nil, denied},
		{"dynamodb:BatchWriteItem", table("prod-payments-changes"), nil, denied},
		{"dynamodb:Scan", table("prod-payments-changes"), nil, denied},
		{"dynamodb:Query", table("prod-payments-reports"), nil, denied},
		{"dynamodb:UpdateItem", table("prod-payments-reports"), nil, denied},
		{"dynamodb:DeleteItem", table("prod-payments-reports"), nil, denied},
		{"dynamodb:Query", table("prod-payments-operations"), nil, denied},
		{"dynamodb:PutItem", table("prod-payments-operations"), nil, denied},
		{"dynamodb:Query", table("prod-kyc-changes"), nil, denied},
		{"dynamodb:Query", table("prod-payments-archive-changes"), nil, denied},
		{"sqs:SendMessage", queue("prod-payments-broadcaster"), nil, denied},
		{"lambda:InvokeFunction", function("prod-payments-broadcaster"), nil, denied},
		{"secretsmanager:DescribeSecret", secret("/bank/prod/payments/neon/password"), nil, denied},
	})
}

// TestTheCanaryMay: what a client may, and read and change the one secret that is its own, whose value means nothing.
func TestTheCanaryMay(t *testing.T) {
	own, another := secret("/bank/prod/payments/secret-broadcaster/canary"), secret("/bank/prod/payments/neon/connection-string")
	decisions := []decision{
		{"dynamodb:Query", table("prod-payments-changes"), nil, allowed},
		{"dynamodb:PutItem", table("prod-payments-changes"), nil, denied},
		{"dynamodb:Query", table("prod-payments-operations"), nil, denied},
		{"dynamodb:PutItem", table("prod-payments-reports"), nil, allowed},
		{"dynamodb:Query", table("prod-payments-reports"), nil, denied},
		{"dynamodb:Query", table("prod-kyc-changes"), nil, denied},
		{"secretsmanager:DeleteSecret", own, nil, denied},
		{"secretsmanager:UpdateSecret", own, nil, denied},
		{"secretsmanager:PutResourcePolicy", own, nil, denied},
		{"secretsmanager:ListSecrets", "", nil, denied},
		{"secretsmanager:BatchGetSecretValue", "", nil, denied},
		{"lambda:InvokeFunction", function("prod-payments-broadcaster"), nil, denied},
		{"lambda:InvokeFunction", function("payments-api"), tagged("true", "prod", "payments"), denied},
		{"sqs:SendMessage", queue("prod-payments-broadcaster"), nil, denied},
		{"events:PutEvents", arn("events", "event-bus/default"), tree{"events:source": "secret-broadcaster"}, denied},
		{"kms:Decrypt", keyARN, tree{"kms:ViaService": "secretsmanager.eu-west-2.amazonaws.com"}, denied},
		{"logs:PutLogEvents", arn("logs", "log-group:/aws/lambda/prod-payments-canary:log-stream:a"), nil, allowed},
		{"logs:PutLogEvents", arn("logs", "log-group:/aws/lambda/prod-payments-broadcaster:log-stream:a"), nil, denied},
		{"sts:AssumeRole", "arn:aws:iam::111122223333:role/prod-payments-broadcaster-eu-west-2", nil, denied},
	}
	for _, action := range []string{"DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"} {
		decisions = append(
			decisions,
			decision{"secretsmanager:" + action, own, nil, allowed},
			decision{"secretsmanager:" + action, another, nil, denied},
			decision{"secretsmanager:" + action, secret("/bank/prod/payments/secret-broadcaster/canary-of-others"), nil, denied},
			decision{"secretsmanager:" + action, secret("/bank/prod/kyc/secret-broadcaster/canary"), nil, denied},
			decision{"secretsmanager:" + action, secret("/bank/dev/payments/secret-broadcaster/canary"), nil, denied},
		)
	}
	hold(t, "prod-payments-canary-eu-west-2", canaryPolicies(t, domain(t, "payments")), decisions)
	hold(t, "prod-payments-canary-eu-west-2", canaryPolicies(t, domain(t, "payments", everyOption()...)), []decision{
		{"secretsmanager:GetSecretValue", another, nil, denied},
		{"kms:Decrypt", keyARN, tree{"kms:ViaService": "dynamodb.eu-west-2.amazonaws.com"}, allowed},
		{"kms:Decrypt", keyARN, tree{"kms:ViaService": "secretsmanager.eu-west-2.amazonaws.com"}, denied},
		{"ec2:DeleteNetworkInterface", arn("ec2", "network-interface/eni-1"), nil, allowed},
		{"ec2:DeleteNetworkInterface", arn("ec2", "network-interface/eni-1"), tree{"lambda:SourceFunctionArn": function("prod-payments-canary")}, never},
	})
}

func TestOnCallMay(t *testing.T) {
	hold(t, "payments-on-call", []any{document(domain(t, "payments"), "OnCallPolicy")}, []decision{
		{"dynamodb:Query", table("prod-payments-changes"), nil, allowed},
		{"dynamodb:Query", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:Query", table("prod-payments-reports"), nil, allowed},
		{"dynamodb:GetItem", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:BatchGetItem", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:BatchGetItem", table("prod-kyc-operations"), nil, denied},
		{"dynamodb:PutItem", table("prod-payments-changes"), nil, denied},
		{"dynamodb:PutItem", table("prod-payments-operations"), nil, denied},
		{"dynamodb:Query", table("prod-kyc-operations"), nil, denied},
		{"logs:FilterLogEvents", arn("logs", "log-group:/aws/lambda/prod-payments-broadcaster:*"), nil, allowed},
		{"logs:FilterLogEvents", arn("logs", "log-group:/aws/lambda/prod-payments-canary:*"), nil, allowed},
		{"logs:FilterLogEvents", arn("logs", "log-group:/aws/lambda/prod-kyc-broadcaster:*"), nil, denied},
		{"lambda:GetFunctionConfiguration", function("prod-payments-broadcaster"), nil, allowed},
		{"lambda:UpdateFunctionConfiguration", function("prod-payments-broadcaster"), nil, denied},
		// See how long the domain's own functions may run, and nobody else's configuration.
		{"lambda:GetFunctionConfiguration", function("payments-api:live"), tagged("true", "prod", "payments"), allowed},
		{"lambda:GetFunctionConfiguration", function("payments-batch"), tagged("", "prod", "payments"), allowed},
		{"lambda:GetFunctionConfiguration", function("kyc-api"), tagged("true", "prod", "kyc"), denied},
		{"lambda:GetFunctionConfiguration", function("payments-api"), tagged("true", "dev", "payments"), denied},
		{"lambda:GetFunctionConfiguration", function("payments-api"), nil, denied},
		{"sqs:GetQueueAttributes", queue("prod-payments-broadcaster"), nil, allowed},
		{"sqs:GetQueueAttributes", queue("prod-payments-broadcaster-dead-letters"), nil, allowed},
		// Give commands, and no events.
		{"lambda:InvokeFunction", function("prod-payments-broadcaster:pause"), nil, allowed},
		{"lambda:InvokeFunction", function("prod-payments-broadcaster:resume"), nil, allowed},
		{"lambda:InvokeFunction", function("prod-payments-broadcaster:invalidate"), nil, allowed},
		{"lambda:InvokeFunction", function("prod-payments-broadcaster:replay"), nil, allowed},
		{"lambda:InvokeFunction", function("prod-payments-broadcaster:apply"), nil, denied}, // what holds is reviewed
		{"lambda:InvokeFunction", function("prod-payments-broadcaster:live"), nil, denied},
		{"lambda:InvokeFunction", function("prod-payments-broadcaster"), nil, denied},
		{"lambda:InvokeFunction", function("payments-api"), tagged("true", "prod", "payments"), denied},
		{"lambda:InvokeFunction", function("prod-kyc-broadcaster:pause"), nil, denied},
		{"events:DescribeArchive", arn("events", "archive/prod-secretsmanager"), nil, allowed},
		{"events:StartReplay", arn("events", "archive/prod-secretsmanager"), nil, allowed},
		{"events:StartReplay", arn("events", "archive/dev-secretsmanager"), nil, denied},
		{"events:StartReplay", arn("events", "event-bus/default"), nil, allowed},
		{"events:StartReplay", arn("events", "event-bus/another"), nil, denied},
		{"events:StartReplay", arn("events", "replay/prod-payments-20261123T100000Z"), nil, allowed},
		{"events:DescribeReplay", arn("events", "replay/prod-payments-20261123T100000Z"), nil, allowed},
		{"events:CancelReplay", arn("events", "replay/prod-payments-20261123T100000Z"), nil, allowed},
		{"events:CancelReplay", arn("events", "replay/prod-kyc-20261123T100000Z"), nil, denied},
		{"events:CancelReplay", arn("events", "replay/prod-payments-archive-20261123T100000Z"), nil, denied},
		{"events:DeleteArchive", arn("events", "archive/prod-secretsmanager"), nil, denied},
		{"logs:GetQueryResults", "", nil, allowed},
		{"cloudwatch:GetMetricStatistics", "", nil, allowed},
		{"lambda:GetAccountSettings", "", nil, allowed},
		{"lambda:ListEventSourceMappings", "", nil, allowed},
		{"cloudtrail:DescribeTrails", "", nil, allowed},
		{"secretsmanager:ListSecrets", "", nil, allowed}, // names, dates and tags of the account: AWS cannot scope it
		{"events:DescribeRule", arn("events", "rule/prod-payments-secret-label"), nil, allowed},
		{"events:DescribeRule", arn("events", "rule/prod-kyc-secret-label"), nil, denied},
		{"events:DescribeRule", arn("events", "rule/prod-payments-archive-secret-label"), nil, denied},
		{"events:EnableRule", arn("events", "rule/prod-payments-broadcaster-tick"), nil, allowed},
		{"events:EnableRule", arn("events", "rule/prod-payments-canary"), nil, allowed},
		{"events:EnableRule", arn("events", "rule/prod-payments-archive-broadcaster-tick"), nil, denied},
		{"events:PutRule", arn("events", "rule/prod-payments-broadcaster-tick"), nil, denied},
		{"events:DisableRule", arn("events", "rule/prod-payments-secret-label"), nil, denied},
		{"secretsmanager:DescribeSecret", secret("/bank/prod/payments/neon/password"), nil, allowed},
		{"secretsmanager:DescribeSecret", secret("/bank/prod/payments-archive/neon/password"), nil, denied},
		{"secretsmanager:GetSecretValue", secret("/bank/prod/payments/neon/password"), nil, denied},
		{"sqs:ReceiveMessage", queue("prod-payments-broadcaster-dead-letters"), nil, allowed},
		{"sqs:StartMessageMoveTask", queue("prod-payments-broadcaster-dead-letters"), nil, allowed},
		{"sqs:SendMessage", queue("prod-payments-broadcaster"), nil, allowed},
		{"sqs:ReceiveMessage", queue("prod-payments-broadcaster"), nil, denied},
		{"sqs:PurgeQueue", queue("prod-payments-broadcaster-dead-letters"), nil, denied},
		{"sqs:SendMessage", queue("prod-kyc-broadcaster"), nil, denied},
		// Look with the doctor, at nothing of a domain of a similar name.
		{"dynamodb:DescribeTable", table("prod-payments-archive-changes"), nil, denied},
		{"dynamodb:Query", table("prod-payments-archive-operations"), nil, denied},
		{"dynamodb:DescribeTimeToLive", table("prod-payments-archive-reports"), nil, denied},
		{"sqs:GetQueueAttributes", queue("prod-payments-archive-broadcaster"), nil, denied},
		{"lambda:GetFunctionConfiguration", function("prod-payments-archive-broadcaster"), tagged("", "prod", "payments-archive"), denied},
		{"lambda:GetFunctionConcurrency", function("prod-payments-archive-broadcaster"), nil, denied},
		{"lambda:ListTags", function("kyc-api"), tagged("true", "prod", "kyc"), denied},
		{"lambda:ListTags", function("payments-api"), nil, denied},
		{"iam:SimulatePrincipalPolicy", "arn:aws:iam::111122223333:role/payments-api", nil, allowed},
		{"iam:PassRole", "arn:aws:iam::111122223333:role/payments-api", nil, denied},
		{"iam:PutRolePolicy", "arn:aws:iam::111122223333:role/payments-api", nil, denied},
	})
}

// TestTheDoctorMayLook: every call that it makes of a domain, as its own test records them, is allowed to people on call.
func TestTheDoctorMayLook(t *testing.T) {
	var calls []struct{ Action, Resource string }
	if err := json.Unmarshal(fileIn(t, root, "cmd/broadcaster/internal/doctor/testdata/calls.json"), &calls); err != nil || len(calls) < 30 {
		t.Fatalf("reading the doctor's calls: %d, %v", len(calls), err)
	}
	var decisions []decision
	for _, c := range calls {
		context := tree(nil)
		if strings.HasPrefix(c.Resource, function("")) {
			context = tagged("", "prod", "payments") // as all of them are, the broadcaster and its canary by the template
		}
		decisions = append(decisions, decision{c.Action, c.Resource, context, allowed})
	}
	hold(t, "payments-on-call", []any{document(domain(t, "payments"), "OnCallPolicy")}, decisions)
}

// TestWhoPlansMayNotApply: a pull request's role reads, and only what is merged is applied.
func TestWhoPlansMayNotApply(t *testing.T) {
	plan, apply := document(domain(t, "payments"), "PlanPolicy"), document(domain(t, "payments"), "ApplyPolicy")
	hold(t, "payments-plan", []any{plan}, []decision{
		{"dynamodb:Query", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:GetItem", table("prod-payments-operations"), nil, allowed},
		{"dynamodb:Query", table("prod-payments-reports"), nil, allowed},
		{"dynamodb:PutItem", table("prod-payments-operations"), nil, denied},
		{"dynamodb:Query", table("prod-kyc-operations"), nil, denied},
		{"lambda:GetFunctionConfiguration", function("prod-payments-broadcaster"), nil, allowed},
		// A pull request's code runs with it: it sees nobody's environment, and tags of those functions only that its domain tagged.
		{"lambda:GetFunctionConfiguration", function("payments-api"), tagged("true", "prod", "payments"), denied},
		{"lambda:GetAlias", function("payments-api"), tagged("true", "prod", "payments"), allowed},
		{"lambda:ListTags", function("payments-api"), tagged("true", "prod", "payments"), allowed},
		{"lambda:GetFunctionConfiguration", function("some-function"), nil, denied},
		{"lambda:GetFunctionConfiguration", function("kyc-api"), tagged("true", "prod", "kyc"), denied},
		{"lambda:ListTags", function("payments-api"), tagged("true", "dev", "payments"), denied},
		{"lambda:ListTags", function("archive-api"), tagged("true", "prod", "payments-archive"), denied},
		{"lambda:GetAlias", function("kyc-api"), tagged("true", "prod", "kyc"), denied},
		{"lambda:ListTags", function("kyc-api"), tagged("true", "prod", "kyc"), denied},
		{"lambda:ListTags", function("some-function"), nil, denied},
		{"lambda:GetFunction", function("payments-api"), tagged("true", "prod", "payments"), denied},
		{"lambda:TagResource", function("payments-api"), nil, denied},
		{"lambda:InvokeFunction", function("payments-api"), nil, denied},
		{"lambda:InvokeFunction", function("prod-payments-broadcaster:apply"), nil, denied},
	})
	hold(t, "payments-apply", []any{apply}, []decision{
		{"lambda:InvokeFunction", function("prod-payments-broadcaster:apply"), nil, allowed},
		{"lambda:InvokeFunction", function("prod-payments-broadcaster:pause"), nil, denied},
		{"lambda:InvokeFunction", function("prod-payments-broadcaster:live"), nil, denied},
		{"lambda:InvokeFunction", function("prod-kyc-broadcaster:apply"), nil, denied},
		{"dynamodb:PutItem", table("prod-payments-operations"), nil, denied},
	})
}

// TestTheRoleIsThatOfTheDocument: docs/operating.md shows the role, and the code is held to that one.
func TestTheRoleIsThatOfTheDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```json\n")
	block, _, _ := strings.Cut(rest, "```")
	var documented, rendered any
	if err := json.Unmarshal([]byte(block), &documented); err != nil {
		t.Fatal(err)
	}
	rendered = rolePolicies(domain(t, "payments"))[0]
	if want, got := indented(t, documented), indented(t, rendered); want != got {
		t.Errorf("docs/operating.md:\n%s\nthe template:\n%s", want, got)
	}
}

func indented(t testing.TB, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
