//go:build linux

package extension_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
	"github.com/bank-platform/secret-broadcaster/test/cloud"
)

// ofClients returns what test/tools/with-infra.sh has installed.
func ofClients(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Fatalf("%s is not set; run make test, or: bash test/tools/with-infra.sh go test ./test/extension", variable)
	}
	return value
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("run npm ci in subscribers/node: %v", err)
	}
	return path
}

// TestUnmodifiedCode: each way in which functions read secrets follows the log, with the packages as they are, and costs
// Secrets Manager one call.
func TestUnmodifiedCode(t *testing.T) {
	for language, c := range map[string]struct {
		command []string
		ways    []string
	}{
		"Go": {nil, []string{"sdk"}},
		"Python": {
			[]string{ofClients(t, "CLIENTS_PYTHON"), absolute(t, "clients/client.py")},
			[]string{"sdk", "sdk-batch", "powertools", "powertools-provider", "caching", "http"},
		},
		"Node": {
			[]string{"node", absolute(t, "clients/client.mjs")},
			[]string{"sdk", "sdk-late", "sdk-batch", "powertools", "powertools-provider", "http"},
		},
		"Java": {
			[]string{"java", "-XX:TieredStopAtLevel=1", "-cp", ofClients(t, "CLIENTS_CLASSES"), "Client"},
			[]string{"sdk", "sdk-late", "sdk-batch", "powertools", "caching", "http"},
		},
	} {
		t.Run(language, func(t *testing.T) {
			var entries []string
			if c.command != nil {
				command, err := json.Marshal(c.command)
				if err != nil {
					t.Fatal(err)
				}
				entries = []string{clientVariable + "=" + string(command), "CLIENT_PACKAGES=" + absolute(t, "../../subscribers/node/package.json")}
			}
			w := newWorld(t, func(fn *functions.Function) { fn.MemoryMB = 512 }, entries...)
			w.wantSoon(cloud.Password, canary+"-first") // the environment has started
			for _, way := range c.ways {
				name := "/bank/prod/payments/" + way
				w.cloud.Put(name, "first")
				w.cloud.Called()
				for range 3 {
					w.awaitText(question{Name: name, Way: way}, "first")
				}
				calls := w.cloud.Called()
				if way == "caching" { // it asks which version is current, and for that one version
					calls = slices.DeleteFunc(calls, func(operation string) bool { return operation == "DescribeSecret" })
				}
				if len(calls) > 1 || slices.ContainsFunc(calls, func(operation string) bool { return operation != "GetSecretValue" }) {
					t.Errorf("%s: three reads called Secrets Manager: %v", way, calls)
				}
				w.cloud.Put(name, "second")
				w.cloud.Announce(name)
				w.awaitText(question{Name: name, Way: way}, "second")
			}
		})
	}
}

// TestAProxyThatTheFunctionHas: it is warned of, and what the warning says to do leads clients past it that know proxies.
func TestAProxyThatTheFunctionHas(t *testing.T) {
	command, err := json.Marshal([]string{ofClients(t, "CLIENTS_PYTHON"), absolute(t, "clients/client.py")})
	if err != nil {
		t.Fatal(err)
	}
	const proxy, warning = "HTTP_PROXY=http://127.0.0.1:1", "through the proxy of HTTP_PROXY: set NO_PROXY to 127.0.0.1,localhost"
	w := newWorld(t, nil, clientVariable+"="+string(command), proxy)
	if _, a := w.invoke(question{Name: cloud.Password, Way: "http"}); !strings.Contains(a.Body, "refused") {
		t.Errorf("the function got %+v, not through the proxy, which is none", a)
	}
	if !strings.Contains(w.out.String(), warning) {
		t.Errorf("it was not warned of:\n%s", w.out)
	}
	w = newWorld(t, nil, clientVariable+"="+string(command), proxy, "NO_PROXY=127.0.0.1,localhost")
	for _, way := range []string{"sdk", "http"} {
		w.awaitText(question{Name: cloud.Password, Way: way}, canary+"-first")
	}
	if strings.Contains(w.out.String(), warning) {
		t.Errorf("it was warned of:\n%s", w.out)
	}
}

// TestWhatIsCachedInFrontIsNotSeen: the documentation says which caches to turn down. This is what becomes of one that is not.
func TestWhatIsCachedInFrontIsNotSeen(t *testing.T) {
	command, err := json.Marshal([]string{ofClients(t, "CLIENTS_PYTHON"), absolute(t, "clients/client.py")})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil, clientVariable+"="+string(command), "POWERTOOLS_PARAMETERS_MAX_AGE=300")
	w.awaitText(question{Name: cloud.Password, Way: "powertools"}, canary+"-first")
	w.cloud.Put(cloud.Password, canary+"-second")
	w.cloud.Announce(cloud.Password)
	w.awaitText(question{Name: cloud.Password, Way: "sdk"}, canary+"-second")
	w.awaitText(question{Name: cloud.Password, Way: "powertools"}, canary+"-first")
}
