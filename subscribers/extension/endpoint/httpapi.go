package endpoint

import (
	"net/http"
	"net/url"
	"strings"
)

// What AWS's Parameters and Secrets extension and its agent are asked
// (https://docs.aws.amazon.com/secretsmanager/latest/userguide/retrieving-secrets_lambda.html).
const (
	tokenHeader      = "X-Aws-Parameters-Secrets-Token"
	otherTokenHeader = "X-Vault-Token" //nolint:gosec // the header's name
	getPath          = "/secretsmanager/get"
	idPath           = "/v1/"
	parametersPath   = "/systemsmanager/"
)

// serveHTTPAPI answers a request of the HTTP API.
func (e *Endpoint) serveHTTPAPI(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get(tokenHeader)
	if token == "" {
		token = r.Header.Get(otherTokenHeader)
	}
	switch {
	case !e.identity.accepts(r.Context(), token):
		e.refused.tokens.warn(e.logger, "a request without this function's token was refused: set the header "+tokenHeader+" to AWS_SESSION_TOKEN", "present", token != "")
		tell(w, http.StatusForbidden, "Bad Token")
	case r.Method != http.MethodGet:
		tell(w, http.StatusMethodNotAllowed, "Not allowed")
	case strings.HasPrefix(r.URL.Path, parametersPath):
		tell(w, http.StatusNotFound, "Not found: parameters are served by AWS's Parameters and Secrets extension, "+
			"which can stand beside this one on another port (PARAMETERS_SECRETS_EXTENSION_HTTP_PORT)")
	case r.URL.Path == getPath, strings.HasPrefix(r.URL.Path, idPath):
		e.serveGet(w, r)
	default:
		tell(w, http.StatusNotFound, "Not found")
	}
}

func (e *Endpoint) serveGet(w http.ResponseWriter, r *http.Request) {
	want, isNew, problem := parseGet(r.URL)
	if problem != "" {
		tell(w, http.StatusBadRequest, problem)
		return
	}
	got, err := e.read(r.Context(), want, isNew)
	if err != nil {
		refused := refusalOf(err)
		send(w, refused.status, "", encode(refused))
		return
	}
	send(w, http.StatusOK, "", encode(got.forHTTPAPI()))
}

// parseGet reads what is asked for, or says what is wrong with it. A secret's id in a path is taken as it is written, as
// AWS's agent takes it.
func parseGet(u *url.URL) (want wanted, isNew bool, problem string) {
	id, inPath := strings.CutPrefix(u.EscapedPath(), idPath)
	if inPath {
		want.id = id
	}
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		key, value, err := cutPair(pair)
		switch {
		case pair == "":
		case err != nil:
			return wanted{}, false, "malformed query"
		case key == "secretId" && !inPath:
			want.id = value
		case key == "versionId":
			want.versionID = value
		case key == "versionStage":
			want.label = value
		case key == "refreshNow":
			var ok bool
			if isNew, ok = parseBool(value); !ok {
				return wanted{}, false, "invalid refreshNow value"
			}
		case key == "roleArn":
			return wanted{}, false, "roleArn is not supported: secrets are read with the function's own role"
		default:
			return wanted{}, false, "unknown parameter: " + key
		}
	}
	switch {
	case want.id == "" && inPath:
		return wanted{}, false, "missing secret ID"
	case want.id == "":
		return wanted{}, false, "missing parameter secretId"
	}
	return want, isNew, ""
}

func cutPair(pair string) (key, value string, err error) {
	key, value, _ = strings.Cut(pair, "=")
	if key, err = url.QueryUnescape(key); err != nil {
		return "", "", err
	}
	value, err = url.QueryUnescape(value)
	return key, value, err
}

func parseBool(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	default:
		return false, false
	}
}
