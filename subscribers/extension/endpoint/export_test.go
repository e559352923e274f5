package endpoint

import (
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// SignatureOf is the signature that a request must have.
func SignatureOf(r *http.Request, c aws.Credentials, at time.Time, scope string, signedHeaders []string, body string) string {
	return signature{scope: scope, signedHeaders: signedHeaders, at: at, credentials: c}.of(r, []byte(body))
}
