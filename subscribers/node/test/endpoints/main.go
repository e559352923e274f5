// Command endpoints serves the local DynamoDB and Secrets Manager at one URL, for the Node client's tests. It prints the
// URL and ends when its standard input does, so that it does not outlive the test that started it.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/bank-platform/secret-broadcaster/internal/local/secrets"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "endpoints:", err)
		os.Exit(1)
	}
}

func serve() error {
	local, err := tables.Open(tables.Config{})
	if err != nil {
		return fmt.Errorf("opening the tables: %w", err)
	}
	vault := secrets.New(secrets.Config{Region: "eu-west-2", Account: "111122223333"})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.") {
			vault.ServeHTTP(w, r)
			return
		}
		local.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(listener) }() // ends with the process
	fmt.Printf("http://%s\n", listener.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
