package tables_test

import (
	"net/http/httptest"
	"testing"

	"github.com/bank-platform/secret-broadcaster/internal/awstest"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables"
	"github.com/bank-platform/secret-broadcaster/internal/local/tables/tablestest"
)

func TestContract(t *testing.T) {
	t.Run("stand-in over the in-process transport", func(t *testing.T) {
		tablestest.Run(t, func(t *testing.T) tablestest.Endpoint {
			return tablestest.Endpoint{URL: "http://tables", Transport: open(t, tables.Config{}).RoundTripper()}
		})
	})
	t.Run("stand-in over loopback, with a journal", func(t *testing.T) {
		tablestest.Run(t, func(t *testing.T) tablestest.Endpoint {
			server := httptest.NewServer(open(t, tables.Config{Dir: t.TempDir()}))
			t.Cleanup(server.Close)
			return tablestest.Endpoint{URL: server.URL}
		})
	})
	t.Run("third party's emulator", func(t *testing.T) {
		url := awstest.URL(t)
		tablestest.Run(t, func(*testing.T) tablestest.Endpoint { return tablestest.Endpoint{URL: url} })
	})
}
