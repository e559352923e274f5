package secretstest

import (
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

func readingCases() []contract {
	return []contract{
		{"a secret is found by name, full ARN and ARN without suffix", findsByARN, ""},
		{"a beginning of a name or ARN finds nothing", findsNoPrefix, MatchesARNPrefixes},
		{"a name that ends like a suffix is not mistaken for another secret", suffixLikeName, ""},
		{"an ARN of another account or Region finds nothing", findsNothingElsewhere, ""},
		{"every change moves LastChangedDate", changeMovesDate, RoundsDates},
		{"each version keeps its own CreatedDate", versionDates, RoundsDates},
		{"a list has every secret with its labels", lists, ""},
		{"a list filters by the beginning of the name", listFilters, ""},
		{"a list filters by nothing but the beginning, in that case", listFiltersStrictly, FiltersBySubstring},
		{"a list comes in pages that join up", listPages, ""},
		{"a list shows what is marked for deletion only if asked to", listDeleted, ""},
	}
}

func findsByARN(f *fixture) {
	f.create(name, "v1")
	arn := *f.describe(name).ARN
	for _, id := range []string{name, arn, arn[:len(arn)-7]} {
		out, err := f.get(secretsmanager.GetSecretValueInput{SecretId: &id})
		f.must(err)
		f.equal(*out.ARN, arn)
		f.equal(*f.describe(id).Name, name)
	}
}

func findsNoPrefix(f *fixture) {
	f.create(name, "v1")
	arn := *f.describe(name).ARN
	for _, id := range []string{name[:len(name)-1], arn[:len(arn)-8], arn[:len(arn)-1], arn + "x", arn[:len(arn)-6]} {
		_, err := f.get(secretsmanager.GetSecretValueInput{SecretId: &id})
		f.refused(err, notFound)
	}
}

func suffixLikeName(f *fixture) {
	f.create(name, "short")
	f.create(name+"-abcdef", "long")
	for id, want := range map[string]string{
		name: "short", name + "-abcdef": "long", *f.describe(name).ARN: "short", *f.describe(name + "-abcdef").ARN: "long",
	} {
		out, err := f.get(secretsmanager.GetSecretValueInput{SecretId: &id})
		f.must(err)
		f.equal(*out.SecretString, want)
	}
}

func findsNothingElsewhere(f *fixture) {
	f.create(name, "v1")
	for _, id := range []string{
		"arn:aws:secretsmanager:eu-west-2:999999999999:secret:" + name,
		"arn:aws:secretsmanager:us-west-1:111122223333:secret:" + name,
	} {
		_, err := f.get(secretsmanager.GetSecretValueInput{SecretId: &id})
		f.refused(err, notFound)
	}
}

func changeMovesDate(f *fixture) {
	first := f.create(name, "v1")
	d := f.describe(name)
	f.equal(*d.LastChangedDate, *d.CreatedDate)
	last := *d.LastChangedDate
	var second string
	for _, change := range []struct {
		name string
		do   func() error
	}{
		{"put", func() error { second = f.put("v2"); return nil }},
		{"pending", func() error { f.put("v3", pending); return nil }},
		{"rollback", func() error { return f.move(current, first, second) }},
		{"custom label", func() error { return f.move("GREEN", first, "") }},
		{"label off", func() error { return f.move("GREEN", "", first) }},
		{"description", func() error {
			_, err := f.client.UpdateSecret(f.Context(), &secretsmanager.UpdateSecretInput{SecretId: aws.String(name), Description: aws.String("x")})
			return err
		}},
		{"delete", func() error { _, err := f.delete(0, false); return err }},
		{"restore", f.restore},
	} {
		f.must(change.do())
		d := f.describe(name)
		if !d.LastChangedDate.After(last) {
			f.Errorf("%s: LastChangedDate %v after %v", change.name, d.LastChangedDate, last)
		}
		last = *d.LastChangedDate
	}
}

func versionDates(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2")
	var dates []time.Time
	for _, id := range []string{first, second} {
		out, err := f.get(secretsmanager.GetSecretValueInput{VersionId: &id})
		f.must(err)
		dates = append(dates, *out.CreatedDate)
	}
	f.equal(dates[0], *f.describe(name).CreatedDate)
	if !dates[1].After(dates[0]) {
		f.Errorf("created %v", dates)
	}
}

// list reads all pages and returns the names, and how many pages there were.
func (f *fixture) list(in secretsmanager.ListSecretsInput) (names []string, pages int) {
	f.Helper()
	names = []string{}
	for {
		out, err := f.client.ListSecrets(f.Context(), &in)
		f.must(err)
		pages++
		for _, s := range out.SecretList {
			names = append(names, *s.Name)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			slices.Sort(names)
			return names, pages
		}
	}
}

func nameFilter(values ...string) []types.Filter {
	return []types.Filter{{Key: types.FilterNameStringTypeName, Values: values}}
}

func lists(f *fixture) {
	first := f.create(name, "v1")
	second := f.put("v2")
	out, err := f.client.ListSecrets(f.Context(), &secretsmanager.ListSecretsInput{})
	f.must(err)
	f.equal(len(out.SecretList), 1)
	d := f.describe(name)
	got := out.SecretList[0]
	f.equal(*got.ARN, *d.ARN)
	f.equal(*got.LastChangedDate, *d.LastChangedDate)
	f.equal(got.SecretVersionsToStages, map[string][]string{first: {previous}, second: {current}})
}

func listFilters(f *fixture) {
	for _, n := range []string{"/bank/test/payments/a", "/bank/test/payments/b", "/bank/test/payments-archive/c", "/bank/test/kyc/d"} {
		f.create(n, "v1")
	}
	got, _ := f.list(secretsmanager.ListSecretsInput{Filters: nameFilter("/bank/test/payments/")})
	f.equal(got, []string{"/bank/test/payments/a", "/bank/test/payments/b"})
	got, _ = f.list(secretsmanager.ListSecretsInput{Filters: nameFilter("/bank/test/payments/a", "/bank/test/kyc/")})
	f.equal(got, []string{"/bank/test/kyc/d", "/bank/test/payments/a"})
	got, _ = f.list(secretsmanager.ListSecretsInput{Filters: nameFilter("/nothing/")})
	f.equal(got, []string{})
}

func listFiltersStrictly(f *fixture) {
	for _, n := range []string{"/a/x", "/b/a/x", "/A/x"} {
		f.create(n, "v1")
	}
	got, _ := f.list(secretsmanager.ListSecretsInput{Filters: nameFilter("/a/")})
	f.equal(got, []string{"/a/x"})
}

func listPages(f *fixture) {
	want := []string{}
	for i := range 7 {
		want = append(want, fmt.Sprintf("/bank/test/payments/%d", i))
		f.create(want[i], "v1")
	}
	got, pages := f.list(secretsmanager.ListSecretsInput{MaxResults: aws.Int32(3)})
	f.equal(got, want)
	f.equal(pages, 3)
}

func listDeleted(f *fixture) {
	f.create(name, "v1")
	f.create("/bank/test/kyc/other", "v1")
	_, err := f.delete(0, false)
	f.must(err)
	got, _ := f.list(secretsmanager.ListSecretsInput{})
	f.equal(got, []string{"/bank/test/kyc/other"})
	got, _ = f.list(secretsmanager.ListSecretsInput{IncludePlannedDeletion: aws.Bool(true)})
	f.equal(got, []string{"/bank/test/kyc/other", name})
	out, err := f.client.ListSecrets(f.Context(), &secretsmanager.ListSecretsInput{
		IncludePlannedDeletion: aws.Bool(true), Filters: nameFilter("/bank/test/"), MaxResults: aws.Int32(100),
	})
	f.must(err)
	f.equal(len(out.SecretList), 2)
	for _, s := range out.SecretList {
		if (s.DeletedDate != nil) != (*s.Name == name) {
			f.Errorf("%s has DeletedDate %v", *s.Name, s.DeletedDate)
		}
	}
}
