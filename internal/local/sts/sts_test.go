package sts_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bank-platform/secret-broadcaster/internal/local/sts"
)

const who = "arn:aws:sts::111122223333:assumed-role/on-call/demo"

// TestOnlyASignatureThatIsRightAndYoungSaysWho: of what AWS's SDK signs.
func TestOnlyASignatureThatIsRightAndYoungSaysWho(t *testing.T) {
	for name, c := range map[string]struct {
		key, secret string
		edit        func(url string) string
		later       time.Duration
		want        string
	}{
		"right":             {key: "K", secret: "S", want: who},
		"nobody's":          {key: "another", secret: "S", want: "InvalidClientTokenId"},
		"another secret's":  {key: "K", secret: "another", want: "SignatureDoesNotMatch"},
		"of another action": {key: "K", secret: "S", edit: replace("GetCallerIdentity", "AssumeRole"), want: "IncompleteSignature"},
		"with more in it":   {key: "K", secret: "S", edit: func(url string) string { return url + "&X=1" }, want: "SignatureDoesNotMatch"},
		"of another day":    {key: "K", secret: "S", edit: replace("%2F2", "%2F1"), want: "IncompleteSignature"},
		"just in time":      {key: "K", secret: "S", later: 58 * time.Second, want: who},
		"too late":          {key: "K", secret: "S", later: 62 * time.Second, want: "SignatureDoesNotMatch"},
		"too early":         {key: "K", secret: "S", later: -6 * time.Minute, want: "SignatureDoesNotMatch"},
	} {
		server := httptest.NewServer(sts.New(sts.Config{
			Users: []sts.User{{Key: "K", Secret: "S", ARN: who}}, Now: func() time.Time { return time.Now().Add(c.later) },
		}))
		client := awssts.New(awssts.Options{Region: "eu-west-2", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider(c.key, c.secret, "a token/+ =")})
		signed, err := awssts.NewPresignClient(client).PresignGetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{}, func(o *awssts.PresignOptions) {
			o.ClientOptions = append(o.ClientOptions, awssts.WithAPIOptions(smithyhttp.SetHeaderValue("X-Amz-Expires", "60")))
		})
		if err != nil {
			t.Fatal(err)
		}
		if c.edit != nil {
			signed.URL = c.edit(signed.URL)
		}
		response, err := http.Get(signed.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		server.Close()
		if !strings.Contains(string(body), ">"+c.want+"<") || (response.StatusCode == http.StatusOK) != (c.want == who) {
			t.Errorf("%s: %s %s", name, response.Status, body)
		}
	}
}

func replace(old, other string) func(string) string {
	return func(url string) string { return strings.Replace(url, old, other, 1) }
}
