package infra

import (
	"slices"
	"strings"
	"testing"
)

// TestNamesDoNotCollide: neither of two environments or of two domains in one account and Region, nor of two Regions or accounts
// where a name counts for more than one.
func TestNamesDoNotCollide(t *testing.T) {
	taken := map[string]string{}
	named := 0
	take := func(whose string, s stack, at, in string) {
		for id, r := range s.resources {
			property, isNamed := nameOf(r.Type)
			if !isNamed {
				continue
			}
			name, has := r.Properties[property].(string)
			if !has {
				t.Errorf("%s of %s has no name of its own: nobody could say in a policy which it is", id, whose)
				continue
			}
			named++
			scope := in + " " + at
			switch {
			case r.Type == "AWS::S3::Bucket": // of all accounts
				scope = "everywhere"
			case strings.HasPrefix(r.Type, "AWS::IAM::"), r.Type == "AWS::CloudWatch::Dashboard": // of all Regions
				scope = in
			}
			key := r.Type + " " + name + " " + scope
			if other, is := taken[key]; is {
				t.Errorf("%s: the %s of %s and of %s are one", name, r.Type, whose, other)
			}
			taken[key] = whose + ": " + id
		}
	}
	for _, in := range []string{account, "444455556666"} {
		for _, at := range []string{region, "us-east-1"} {
			for _, env := range []string{"prod", "dev"} {
				whose := in + " " + at + " " + env
				take(whose, platform(t, "Env", env, "HintAccounts", "777788889999", "AWS::AccountId", in, "AWS::Region", at), at, in)
				for _, name := range []string{"payments", "payments-archive", "secret"} {
					take(whose+" "+name, domain(t, name, "Env", env, "AWS::AccountId", in, "AWS::Region", at), at, in)
				}
			}
		}
	}
	if named < 500 {
		t.Errorf("only %d names were seen: this test shows nothing", named)
	}
}

// nameOf returns the property by which a resource of a type is told from others of its kind; what belongs to another resource has
// none.
func nameOf(kind string) (property string, named bool) {
	if is, known := names()[kind]; known {
		return is[0], true
	}
	switch kind {
	case "AWS::Events::Archive":
		return "ArchiveName", true
	case "AWS::Events::EventBusPolicy":
		return "StatementId", true
	}
	return "", false
}

// TestWhatHasNoNameBelongsToWhatHas: a kind of resource that is new in a template is looked at by the test above, or stands here.
func TestWhatHasNoNameBelongsToWhatHas(t *testing.T) {
	parts := []string{
		"AWS::Lambda::Alias", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::Permission", "AWS::S3::BucketPolicy", "AWS::SNS::Subscription",
		"AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy",
	}
	var seen []string
	for _, file := range []string{"domain.yaml", "platform.yaml"} {
		for id, declared := range template(t, file)["Resources"].(tree) {
			kind := declared.(tree)["Type"].(string)
			if _, named := nameOf(kind); !named {
				seen = append(seen, kind)
				if !slices.Contains(parts, kind) {
					t.Errorf("%s of %s, a %s: which property names it?", id, file, kind)
				}
			}
		}
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != len(parts) {
		t.Errorf("%v are in no template", parts)
	}
}
