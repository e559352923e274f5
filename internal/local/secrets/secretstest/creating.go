package secretstest

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

func creatingCases() []contract {
	return []contract{
		{"a created secret has its value as AWSCURRENT", createdIsCurrent, ""},
		{"a binary value comes back as it was put", binaryValue, ""},
		{"a name that is taken is refused", refusesTakenName, ""},
		{"a secret may be created without a value", createdEmpty, CreatesEmptyVersion},
		{"the first value of an empty secret becomes AWSCURRENT whatever label was asked for", firstValueIsCurrent, CreatesEmptyVersion},
		{"the token becomes the version id, of CreateSecret", createToken, IgnoresTokens},
		{"the token becomes the version id, of PutSecretValue", putToken, ""},
		{"the token becomes the version id, of UpdateSecret", updateToken, IgnoresTokens},
		{"CreateSecret repeated with its token and value changes nothing", createRepeats, CreatesOnce},
		{"PutSecretValue repeated with its token and value changes nothing", putRepeats, OverwritesVersions},
		{"PutSecretValue with a used token and another value is refused", putMismatch, OverwritesVersions},
		{"UpdateSecret with a used token is refused", updateMismatch, IgnoresTokens},
		{"UpdateSecret of the description makes no version", updateDescription, ""},
		{"UpdateSecret of the value moves AWSCURRENT and AWSPREVIOUS", updateValue, ""},
		{"a name with other characters or more than 512 is refused", refusesBadNames, AcceptsAnyName},
		{"a value of 64 KB is kept and a larger, a missing or a double one refused", limitsValues, AcceptsAnyValue},
	}
}

func createdIsCurrent(f *fixture) {
	id := f.create(name, "v1")
	f.wantLabels(map[string]string{current: id})
	out, err := f.get(secretsmanager.GetSecretValueInput{})
	f.must(err)
	f.equal(*out.SecretString, "v1")
	f.equal(*out.VersionId, id)
	f.equal(*out.Name, name)
	f.equal(out.VersionStages, []string{current})
	if !strings.HasPrefix(*out.ARN, "arn:aws:secretsmanager:eu-west-2:") || !strings.Contains(*out.ARN, ":secret:"+name+"-") {
		f.Errorf("ARN %s", *out.ARN)
	}
}

func binaryValue(f *fixture) {
	want := []byte{0, 255, 1, 128}
	_, err := f.client.CreateSecret(f.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(name), SecretBinary: want})
	f.must(err)
	out, err := f.get(secretsmanager.GetSecretValueInput{})
	f.must(err)
	f.equal(out.SecretBinary, want)
	if out.SecretString != nil {
		f.Error("has a string too")
	}
}

func refusesTakenName(f *fixture) {
	f.create(name, "v1")
	_, err := f.client.CreateSecret(f.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(name), SecretString: aws.String("v2")})
	f.equal(f.refused(err, exists), "The operation failed because the secret "+name+" already exists.")
}

func (f *fixture) createEmpty() {
	f.Helper()
	out, err := f.client.CreateSecret(f.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(name)})
	f.must(err)
	if out.VersionId != nil {
		f.Errorf("has version %s", *out.VersionId)
	}
}

func createdEmpty(f *fixture) {
	f.createEmpty()
	f.wantLabels(map[string]string{})
	_, err := f.get(secretsmanager.GetSecretValueInput{})
	f.equal(f.refused(err, notFound), "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")
	id := f.put("v1")
	f.wantLabels(map[string]string{current: id})
}

func firstValueIsCurrent(f *fixture) {
	f.createEmpty()
	id := f.put("v1", pending)
	f.wantLabels(map[string]string{current: id, pending: id})
}

func createToken(f *fixture) {
	out, err := f.client.CreateSecret(f.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(name), SecretString: aws.String("v1"), ClientRequestToken: token("1")})
	f.must(err)
	f.equal(*out.VersionId, *token("1"))
}

func (f *fixture) putWith(end, value string) (*secretsmanager.PutSecretValueOutput, error) {
	return f.client.PutSecretValue(f.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(name), SecretString: &value, ClientRequestToken: token(end)})
}

func putToken(f *fixture) {
	f.create(name, "v1")
	out, err := f.putWith("2", "v2")
	f.must(err)
	f.equal(*out.VersionId, *token("2"))
	f.equal(out.VersionStages, []string{current})
	got, err := f.get(secretsmanager.GetSecretValueInput{VersionId: token("2")})
	f.must(err)
	f.equal(*got.SecretString, "v2")
}

func (f *fixture) updateWith(end, value string) (*secretsmanager.UpdateSecretOutput, error) {
	return f.client.UpdateSecret(f.Context(), &secretsmanager.UpdateSecretInput{SecretId: aws.String(name), SecretString: &value, ClientRequestToken: token(end)})
}

func updateToken(f *fixture) {
	f.create(name, "v1")
	out, err := f.updateWith("2", "v2")
	f.must(err)
	f.equal(*out.VersionId, *token("2"))
}

func createRepeats(f *fixture) {
	in := &secretsmanager.CreateSecretInput{Name: aws.String(name), SecretString: aws.String("v1"), ClientRequestToken: token("1")}
	first, err := f.client.CreateSecret(f.Context(), in)
	f.must(err)
	again, err := f.client.CreateSecret(f.Context(), in)
	f.must(err)
	f.equal(*again.ARN, *first.ARN)
	f.equal(*again.VersionId, *first.VersionId)
	in.SecretString = aws.String("other")
	_, err = f.client.CreateSecret(f.Context(), in)
	f.refused(err, exists)
}

func putRepeats(f *fixture) {
	first := f.create(name, "v1")
	for range 2 {
		_, err := f.putWith("2", "v2")
		f.must(err)
		f.wantLabels(map[string]string{current: *token("2"), previous: first})
	}
}

func putMismatch(f *fixture) {
	f.create(name, "v1")
	_, err := f.putWith("2", "v2")
	f.must(err)
	_, err = f.putWith("2", "other")
	f.refused(err, exists)
	out, err := f.get(secretsmanager.GetSecretValueInput{})
	f.must(err)
	f.equal(*out.SecretString, "v2")
}

func updateMismatch(f *fixture) {
	f.create(name, "v1")
	_, err := f.updateWith("2", "v2")
	f.must(err)
	_, err = f.updateWith("2", "v2")
	f.refused(err, exists)
}

func updateDescription(f *fixture) {
	id := f.create(name, "v1")
	out, err := f.client.UpdateSecret(f.Context(), &secretsmanager.UpdateSecretInput{SecretId: aws.String(name), Description: aws.String("for tests")})
	f.must(err)
	if out.VersionId != nil {
		f.Errorf("made version %s", *out.VersionId)
	}
	f.equal(aws.ToString(f.describe(name).Description), "for tests")
	f.wantLabels(map[string]string{current: id})
}

func updateValue(f *fixture) {
	first := f.create(name, "v1")
	out, err := f.client.UpdateSecret(f.Context(), &secretsmanager.UpdateSecretInput{SecretId: aws.String(name), SecretString: aws.String("v2")})
	f.must(err)
	f.wantLabels(map[string]string{current: *out.VersionId, previous: first})
}

func refusesBadNames(f *fixture) {
	for _, bad := range []string{"with space", "semi;colon", "ümlaut", "bang!", strings.Repeat("x", 513)} {
		_, err := f.client.CreateSecret(f.Context(), &secretsmanager.CreateSecretInput{Name: &bad, SecretString: aws.String("v1")})
		f.refused(err, validation, invalidParameter)
	}
	for _, good := range []string{"/_+=.@-", "A9", strings.Repeat("x", 512)} {
		f.create(good, "v1")
	}
}

func limitsValues(f *fixture) {
	f.create(name, strings.Repeat("x", 65536))
	put := func(in secretsmanager.PutSecretValueInput) error {
		in.SecretId = aws.String(name)
		_, err := f.client.PutSecretValue(f.Context(), &in)
		return err
	}
	f.refused(put(secretsmanager.PutSecretValueInput{SecretString: aws.String(strings.Repeat("x", 65537))}), validation, invalidParameter)
	f.refused(put(secretsmanager.PutSecretValueInput{}), invalidRequest, invalidParameter, validation)
	f.refused(put(secretsmanager.PutSecretValueInput{SecretString: aws.String("")}), invalidRequest, invalidParameter, validation)
	f.refused(put(secretsmanager.PutSecretValueInput{SecretString: aws.String("a"), SecretBinary: []byte("b")}), invalidParameter, validation)
}
