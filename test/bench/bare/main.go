// Command bare is what the extension is compared with: a server of Go's own library that answers every request with the same
// secret, and asks nobody who it is.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	secret = `{"ARN":"arn:aws:secretsmanager:eu-west-2:111122223333:secret:/bank/prod/payments/neon/password-AbCdEf",` +
		`"Name":"/bank/prod/payments/neon/password","VersionId":"EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE","SecretString":"value","VersionStages":["AWSCURRENT"],`
	httpBody = secret + `"CreatedDate":"1795428000.713"}`
	jsonBody = secret + `"CreatedDate":1795428000.713}`
)

func main() {
	if err := serve(os.Getenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT")); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func serve(port string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := httpBody
		if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.") {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			body = jsonBody
		}
		_, _ = w.Write([]byte(body)) // whoever asked may be gone
	})}
	return server.Serve(listener)
}
