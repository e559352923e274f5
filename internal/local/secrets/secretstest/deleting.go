package secretstest

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

func deletingCases() []contract {
	return []contract{
		{"a secret marked for deletion refuses everything but a description", markedRefuses, ""},
		{"a name that is scheduled for deletion cannot be created", markedKeepsName, ReportsDeletedAsTaken},
		{"a restored secret is as it was", restores, ""},
		{"a recovery window is 7 to 30 days", windows, ""},
		{"a forced deletion frees the name at once", forced, ""},
		{"a secret that was deleted and created again has another ARN", recreated, ""},
		{"a forced deletion of nothing succeeds", forcedNothing, NeedsSecretToForce},
		{"an operation on a secret that is not there is refused", refusesUnknown, ""},
	}
}

func (f *fixture) delete(days int64, force bool) (*secretsmanager.DeleteSecretOutput, error) {
	in := &secretsmanager.DeleteSecretInput{SecretId: aws.String(name)}
	if days != 0 {
		in.RecoveryWindowInDays = &days
	}
	if force {
		in.ForceDeleteWithoutRecovery = &force
	}
	return f.client.DeleteSecret(f.Context(), in)
}

func (f *fixture) restore() error {
	_, err := f.client.RestoreSecret(f.Context(), &secretsmanager.RestoreSecretInput{SecretId: aws.String(name)})
	return err
}

func markedRefuses(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2", pending)
	out, err := f.delete(7, false)
	f.must(err)
	if days := time.Until(*out.DeletionDate).Hours() / 24; days < 6.9 || days > 7.1 {
		f.Errorf("deletion in %.2f days", days)
	}
	const message = "You can't perform this operation on the secret because it was marked for deletion."
	_, err = f.get(secretsmanager.GetSecretValueInput{})
	f.equal(f.refused(err, invalidRequest), message)
	_, err = f.get(secretsmanager.GetSecretValueInput{VersionId: &first})
	f.equal(f.refused(err, invalidRequest), message)
	_, err = f.putWith("3", "v3")
	f.equal(f.refused(err, invalidRequest), message)
	_, err = f.updateWith("3", "v3")
	f.equal(f.refused(err, invalidRequest), message)
	f.equal(f.refused(f.move(current, second, first), invalidRequest), message)
	_, err = f.delete(7, false)
	f.refused(err, invalidRequest)
	d := f.describe(name)
	if d.DeletedDate == nil {
		f.Error("no DeletedDate")
	}
	f.wantLabels(map[string]string{current: first, pending: second})
}

func markedKeepsName(f *fixture) {
	f.create(name, "v1")
	_, err := f.delete(0, false)
	f.must(err)
	_, err = f.client.CreateSecret(f.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(name), SecretString: aws.String("v2")})
	f.equal(f.refused(err, invalidRequest), "You can't create this secret because a secret with this name is already scheduled for deletion.")
}

func restores(f *fixture) {
	first := f.create(name, "v1")
	arn := *f.describe(name).ARN
	_, err := f.delete(0, false)
	f.must(err)
	f.must(f.restore())
	d := f.describe(name)
	if d.DeletedDate != nil {
		f.Errorf("DeletedDate %v", d.DeletedDate)
	}
	f.equal(*d.ARN, arn)
	f.wantLabels(map[string]string{current: first})
	out, err := f.get(secretsmanager.GetSecretValueInput{})
	f.must(err)
	f.equal(*out.SecretString, "v1")
}

func windows(f *fixture) {
	f.create(name, "v1")
	for _, days := range []int64{6, 31, -1} {
		_, err := f.delete(days, false)
		f.refused(err, invalidParameter)
	}
	_, err := f.delete(7, true)
	f.refused(err, invalidParameter)
	for _, days := range []int64{7, 30} {
		_, err := f.delete(days, false)
		f.must(err)
		f.must(f.restore())
	}
}

func forced(f *fixture) {
	f.create(name, "v1")
	_, err := f.delete(0, true)
	f.must(err)
	_, err = f.get(secretsmanager.GetSecretValueInput{})
	f.refused(err, notFound)
	f.refused(f.restore(), notFound)
	second := f.create(name, "v2")
	f.wantLabels(map[string]string{current: second})
	_, err = f.delete(7, false)
	f.must(err)
	_, err = f.delete(0, true)
	f.must(err)
	f.create(name, "v3")
}

func recreated(f *fixture) {
	f.create(name, "v1")
	old := *f.describe(name).ARN
	_, err := f.delete(0, true)
	f.must(err)
	f.create(name, "v2")
	if fresh := *f.describe(name).ARN; fresh == old {
		f.Errorf("the ARN is again %s", fresh)
	}
	_, err = f.get(secretsmanager.GetSecretValueInput{SecretId: &old})
	f.refused(err, notFound)
}

func forcedNothing(f *fixture) {
	out, err := f.delete(0, true)
	f.must(err)
	f.equal(*out.Name, name)
	_, err = f.delete(7, false)
	f.refused(err, notFound)
}

func refusesUnknown(f *fixture) {
	const message = "Secrets Manager can't find the specified secret."
	_, err := f.get(secretsmanager.GetSecretValueInput{})
	f.equal(f.refused(err, notFound), message)
	_, err = f.client.DescribeSecret(f.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String(name)})
	f.equal(f.refused(err, notFound), message)
	_, err = f.putWith("1", "v1")
	f.equal(f.refused(err, notFound), message)
	_, err = f.updateWith("1", "v1")
	f.equal(f.refused(err, notFound), message)
	f.equal(f.refused(f.move(current, *token("1"), ""), notFound), message)
	_, err = f.delete(7, false)
	f.equal(f.refused(err, notFound), message)
	f.equal(f.refused(f.restore(), notFound), message)
}
