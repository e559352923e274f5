package secretstest

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

func labelCases() []contract {
	return []contract{
		{"a put moves AWSCURRENT, and AWSPREVIOUS to the version it left", putMovesCurrent, ""},
		{"a put of AWSPENDING leaves AWSCURRENT alone", putPending, ""},
		{"a rotation moves AWSCURRENT to the pending version", rotation, ""},
		{"a rotation leaves AWSPENDING where it is until it is taken off", rotationKeepsPending, ""},
		{"a rollback swaps AWSCURRENT and AWSPREVIOUS", rollback, ""},
		{"a label that is attached moves only from the version that is named", moveNeedsFrom, ""},
		{"a move to where the label is changes nothing", moveToSame, ""},
		{"AWSCURRENT cannot be taken off", currentStays, AcceptsCurrentRemoval},
		{"a promotion followed by a put leaves one AWSCURRENT", promoteThenPut, ""},
		{"a custom label survives puts", customSurvives, ""},
		{"a custom label moves and comes off", customMoves, ""},
		{"a put with a custom label takes it from the old version", putMovesCustom, DoublesCustomLabels},
		{"a version without labels is still read by its id", deprecatedIsReadable, DropsDeprecated},
		{"a hundred versions without labels are kept", keepsHundred, DropsDeprecated},
		{"a label or version that is not there is not found", unknownVersion, ""},
		{"a version id and a label must agree", idAndLabelAgree, IgnoresStageOfVersion},
	}
}

func putMovesCurrent(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2")
	f.wantLabels(map[string]string{current: second, previous: first})
	third := f.put("v3")
	f.wantLabels(map[string]string{current: third, previous: second})
	for label, want := range map[string]string{current: "v3", previous: "v2"} {
		out, err := f.get(secretsmanager.GetSecretValueInput{VersionStage: &label})
		f.must(err)
		f.equal(*out.SecretString, want)
	}
}

func putPending(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2", pending)
	f.wantLabels(map[string]string{current: first, pending: second})
	out, err := f.get(secretsmanager.GetSecretValueInput{VersionStage: aws.String(pending)})
	f.must(err)
	f.equal(*out.SecretString, "v2")
}

func rotation(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2", pending)
	f.must(f.move(current, second, first))
	out, err := f.get(secretsmanager.GetSecretValueInput{})
	f.must(err)
	f.equal(*out.VersionId, second)
	out, err = f.get(secretsmanager.GetSecretValueInput{VersionStage: aws.String(previous)})
	f.must(err)
	f.equal(*out.VersionId, first)
}

func rotationKeepsPending(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2", pending)
	f.must(f.move(current, second, first))
	f.wantLabels(map[string]string{current: second, previous: first, pending: second})
	f.must(f.move(pending, "", second))
	f.wantLabels(map[string]string{current: second, previous: first})
}

func rollback(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2")
	f.must(f.move(current, first, second))
	f.wantLabels(map[string]string{current: first, previous: second})
	f.must(f.move(current, second, first))
	f.wantLabels(map[string]string{current: second, previous: first})
}

func moveNeedsFrom(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2")
	third := f.put("v3", "GREEN")
	want := map[string]string{current: second, previous: first, "GREEN": third}
	f.refused(f.move(current, first, ""), invalidParameter)
	f.refused(f.move(current, first, third), invalidParameter)
	f.refused(f.move("GREEN", first, ""), invalidParameter)
	f.refused(f.move("GREEN", "", first), invalidParameter)
	f.refused(f.move("GREEN", "", ""), invalidParameter)
	f.refused(f.move(current, *token("9"), second), notFound)
	f.refused(f.move(current, first, *token("9")), notFound)
	f.wantLabels(want)
}

func moveToSame(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2")
	f.must(f.move(current, second, second))
	f.wantLabels(map[string]string{current: second, previous: first})
}

func currentStays(f *fixture) {
	first := f.create(name, "v1")
	f.refused(f.move(current, "", first), invalidParameter)
	f.wantLabels(map[string]string{current: first})
}

func promoteThenPut(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2", pending)
	f.must(f.move(current, second, first))
	third := f.put("v3")
	out, err := f.get(secretsmanager.GetSecretValueInput{})
	f.must(err)
	f.equal(*out.VersionId, third)
	out, err = f.get(secretsmanager.GetSecretValueInput{VersionStage: aws.String(previous)})
	f.must(err)
	f.equal(*out.VersionId, second)
}

func customSurvives(f *fixture) {
	first := f.create(name, "v1")
	f.must(f.move("GREEN", first, ""))
	var last, before string
	for i := range 3 {
		before, last = last, f.put(fmt.Sprintf("v%d", i+2))
	}
	f.wantLabels(map[string]string{current: last, previous: before, "GREEN": first})
}

func customMoves(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2")
	f.must(f.move("GREEN", first, ""))
	f.must(f.move("GREEN", second, first))
	f.wantLabels(map[string]string{current: second, previous: first, "GREEN": second})
	out, err := f.get(secretsmanager.GetSecretValueInput{VersionStage: aws.String("GREEN")})
	f.must(err)
	f.equal(*out.SecretString, "v2")
	f.must(f.move("GREEN", "", second))
	f.wantLabels(map[string]string{current: second, previous: first})
}

func putMovesCustom(f *fixture) {
	first := f.create(name, "v1")
	f.must(f.move("GREEN", first, ""))
	second := f.put("v2", "GREEN")
	f.wantLabels(map[string]string{current: first, "GREEN": second})
	third := f.put("v3", "GREEN", current)
	f.wantLabels(map[string]string{current: third, previous: first, "GREEN": third})
}

func deprecatedIsReadable(f *fixture) {
	first := f.create(name, "v1")
	f.put("v2")
	f.put("v3")
	out, err := f.get(secretsmanager.GetSecretValueInput{VersionId: &first})
	f.must(err)
	f.equal(*out.SecretString, "v1")
	f.equal(len(out.VersionStages), 0)
	f.must(f.move("GREEN", first, ""))
}

func keepsHundred(f *fixture) {
	ids := []string{f.create(name, "v")}
	for range 103 {
		ids = append(ids, f.put("v"))
	}
	// 104 versions: AWSCURRENT, AWSPREVIOUS, and 102 without a label.
	for i, id := range ids[:4] {
		_, err := f.get(secretsmanager.GetSecretValueInput{VersionId: &id})
		if i < 2 {
			f.refused(err, notFound)
		} else {
			f.must(err)
		}
	}
}

func unknownVersion(f *fixture) {
	f.create(name, "v1")
	_, err := f.get(secretsmanager.GetSecretValueInput{VersionStage: aws.String("GREEN")})
	f.refused(err, notFound)
	_, err = f.get(secretsmanager.GetSecretValueInput{VersionId: token("9")})
	f.refused(err, notFound)
}

func idAndLabelAgree(f *fixture) {
	first := f.create(name, "v1")
	f.put("v2")
	_, err := f.get(secretsmanager.GetSecretValueInput{VersionId: &first, VersionStage: aws.String(current)})
	f.refused(err, invalidRequest)
	out, err := f.get(secretsmanager.GetSecretValueInput{VersionId: &first, VersionStage: aws.String(previous)})
	f.must(err)
	f.equal(*out.SecretString, "v1")
}
