//go:build !lambdaartifact

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAPlaceThatCannotBeOne(t *testing.T) {
	for args, want := range map[string]string{
		"status --env prod --domain ../x":            `--domain must be lower-case letters, digits and single hyphens, as payments, not "../x"`,
		"pause --reason x --env PROD --domain core":  `--env must be lower-case letters, digits and single hyphens, as prod, not "PROD"`,
		"invalidate a/b --reason x --env prod":       "name the broadcaster with --env and --domain",
		"doctor --env prod --domain payments-":       `not "payments-"`,
		"subscriptions list --env prod --domain a/b": `not "a/b"`,
	} {
		if code, stdout, stderr := cli(t, strings.Fields(args)...); code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

// TestWhatAWSRefusesIsToldWithItsRemedy by commands that read and by commands that send.
func TestWhatAWSRefusesIsToldWithItsRemedy(t *testing.T) {
	refusing := func(status int, kind string) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("X-Amzn-Errortype", kind)
			out.WriteHeader(status)
			_, _ = io.WriteString(out, `{"Message":"refused by the test"}`)
		}
	}
	for name, c := range map[string]struct {
		aws  http.HandlerFunc // nil: nothing listens
		want string
	}{
		"another domain": {
			refusing(http.StatusNotFound, "ResourceNotFoundException"),
			"it is not in this account in eu-west-2: is it another --env, --domain, AWS_REGION or account? Else name it with --function\n",
		},
		"an old session": {
			refusing(http.StatusForbidden, "ExpiredTokenException"),
			"AWS does not take these credentials (ExpiredTokenException): log in, as with aws sso login, or name a profile that is, with AWS_PROFILE\n",
		},
		"a role of another team": {
			refusing(http.StatusForbidden, "AccessDeniedException"),
			"refused by the test: it takes a role with the domain's policy {env}-{domain}-secret-on-call-eu-west-2\n",
		},
		"a demo that has ended": {nil, "nothing listens at the endpoint that is configured: start the demo again, or unset AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_LAMBDA\n"},
		"a function that fails": {
			func(out http.ResponseWriter, r *http.Request) {
				out.Header().Set("X-Amz-Function-Error", "Unhandled")
				_, _ = io.WriteString(out, `{"errorMessage":"the reason"}`)
			},
			"the broadcaster refuses or fails: the reason\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.aws)
			defer server.Close()
			if c.aws == nil {
				server.Close()
			}
			credentials(t, "placeholder", server.URL)
			lines := map[string]string{
				"status --env prod --domain payments":           "broadcaster: looking at the broadcaster prod-payments-broadcaster: ",
				"pause --env prod --domain payments --reason x": "broadcaster: invoking prod-payments-broadcaster:pause: ",
			}
			if strings.HasPrefix(c.want, "the broadcaster") { // that is an answer, of who is sent to
				lines = map[string]string{"pause --env prod --domain payments --reason x": "broadcaster: "}
			}
			for args, begins := range lines {
				if code, _, stderr := cli(t, strings.Fields(args)...); code != exitFailed || stderr != begins+c.want {
					t.Errorf("%s: exit code %d, stderr %q", args, code, stderr)
				}
			}
		})
	}
}

func TestWithoutCredentialsNothingIsAsked(t *testing.T) {
	credentials(t, "", "http://127.0.0.1:1")
	code, _, stderr := cli(t, "missed", "--env", "prod", "--domain", "payments")
	if want := "broadcaster: there are no AWS credentials to use: log in, as with aws sso login, or name a profile that is, with AWS_PROFILE: "; code != exitFailed || !strings.HasPrefix(stderr, want) {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

// credentials are all that the SDK finds.
func credentials(t *testing.T, key, endpoint string) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_REGION": "eu-west-2", "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": key, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "",
		"AWS_ENDPOINT_URL": endpoint, "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
}
