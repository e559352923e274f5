//go:build linux

package functions_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/bank-platform/secret-broadcaster/internal/local/functions"
)

// runExtension is an extension that says what it is told. do is what it does wrong, if anything.
func runExtension(do string) {
	if do == "exit at start" {
		os.Exit(4)
	}
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2020-01-01/extension"
	events := `{"events":["INVOKE","SHUTDOWN"]}`
	if do == "managed" {
		events = `{"events":["SHUTDOWN"]}`
		fmt.Println("extension: registering for INVOKE:", call(http.MethodPost, base+"/register", "Lambda-Extension-Name", filepath.Base(os.Args[0]), `{"events":["INVOKE"]}`).StatusCode)
	}
	fmt.Println("extension: by another name:", call(http.MethodPost, base+"/register", "Lambda-Extension-Name", "other", events).StatusCode)
	fmt.Println("extension: not registered:", call(http.MethodGet, base+"/event/next", "Lambda-Extension-Identifier", "", "").StatusCode)
	registered := call(http.MethodPost, base+"/register", "Lambda-Extension-Name", filepath.Base(os.Args[0]), events)
	identifier := registered.Header.Get("Lambda-Extension-Identifier")
	var told struct{ AccountID string }
	if err := json.NewDecoder(registered.Body).Decode(&told); err != nil {
		os.Exit(5)
	}
	fmt.Println("extension: of account", told.AccountID)
	fmt.Println("extension: again:", call(http.MethodPost, base+"/register", "Lambda-Extension-Name", filepath.Base(os.Args[0]), events).StatusCode)
	_, handler := os.LookupEnv("_HANDLER")
	fmt.Println("extension: registered", registered.StatusCode, "for", os.Getenv("AWS_LAMBDA_FUNCTION_NAME"), handler)
	for {
		answer := call(http.MethodGet, base+"/event/next", "Lambda-Extension-Identifier", identifier, "")
		var event struct{ EventType, InvokedFunctionArn, ShutdownReason string }
		if err := json.NewDecoder(answer.Body).Decode(&event); err != nil {
			os.Exit(5)
		}
		fmt.Println("extension:", event.EventType, event.InvokedFunctionArn+event.ShutdownReason)
		switch {
		case event.EventType == "SHUTDOWN":
			os.Exit(0)
		case do == "exit at an event":
			os.Exit(6)
		case strings.HasPrefix(do, "127."):
			_ = (&function{}).meet(do)
		}
	}
}

func call(method, url, header, value, body string) *http.Response {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	request.Header.Set(header, value)
	request.Header.Set("Lambda-Extension-Accept-Feature", "accountId")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		os.Exit(7) // the environment ends
	}
	return answer
}

// said is what the processes of a host have put out.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// hostWithExtension is a host with a function beside which an extension runs.
func hostWithExtension(t *testing.T, do string, fn functions.Function) (*functions.Host, *said) {
	t.Helper()
	out := &said{}
	h := newHost(t, functions.Config{Output: func(string, string) io.Writer { return out }})
	fn.Name, fn.Extensions = "payments-api", [][]string{{self(t), extensionRole, do}}
	deploy(t, h, fn)
	return h, out
}

func TestAnExtensionLivesBesideTheFunction(t *testing.T) {
	h, out := hostWithExtension(t, "", functions.Function{})
	first := invoke(t, h, "payments-api", event{Do: "print"})
	parse(t, first)
	e := environmentOf(t, h, first.Environment)
	if len(e.ExtensionPIDs) != 1 || e.State != functions.Frozen {
		t.Fatalf("%+v", e)
	}
	if states := threadStates(t, e.ExtensionPIDs[0]); strings.Trim(states, "T") != "" {
		t.Errorf("the extension is not frozen with the function: %s", states)
	}
	parse(t, invoke(t, h, "payments-api", event{}))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	want := `by another name: 403
not registered: 403
of account 111122223333
again: 403
registered 200 for payments-api false
INVOKE arn:aws:lambda:eu-west-2:111122223333:function:payments-api
INVOKE arn:aws:lambda:eu-west-2:111122223333:function:payments-api
SHUTDOWN SPINDOWN
`
	got := ""
	for line := range strings.Lines(out.String()) {
		if said, ok := strings.CutPrefix(line, "extension: "); ok {
			got += said
		}
	}
	if got != want || !strings.Contains(out.String(), "a line on stdout\n") {
		t.Errorf("the processes put out\n%s", out)
	}
	for _, pid := range append(e.ExtensionPIDs, e.PID) {
		if exists(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
}

// TestAnInvocationLastsUntilTheExtensionIsDone: only then may the environment be frozen.
func TestAnInvocationLastsUntilTheExtensionIsDone(t *testing.T) {
	m := newMeeting(t)
	h, _ := hostWithExtension(t, m.address(), functions.Function{})
	finished := make(chan functions.Result)
	go func() { finished <- invoke(t, h, "payments-api", event{}) }()
	guest := m.await(1)
	select {
	case <-finished:
		t.Error("the invocation ended before the extension had")
	default:
	}
	m.letGo(guest...)
	parse(t, <-finished)
}

func TestAnExtensionThatEndsEndsItsEnvironment(t *testing.T) {
	for do, exit := range map[string]string{"exit at start": "4", "exit at an event": "6"} {
		t.Run(do, func(t *testing.T) {
			m := newMeeting(t)
			h, _ := hostWithExtension(t, do, functions.Function{})
			// The function waits to be let go on, and nobody does.
			got := invoke(t, h, "payments-api", event{Dial: m.address()})
			want := `^\{"errorType":"Extension.Crash","errorMessage":"RequestId: [0-9a-f-]{36} Error: exit status ` + exit + `"\}$`
			if got.FunctionError != "Unhandled" || !regexp.MustCompile(want).Match(got.Payload) {
				t.Errorf("%s: got %s %s", do, got.FunctionError, got.Payload)
			}
			if e := environmentOf(t, h, got.Environment); e.State != functions.Ended || e.PID != 0 && exists(e.PID) {
				t.Errorf("%s: the environment is %s", do, e.State)
			}
		})
	}
}

// TestAnExtensionKilledAtRestIsNoticed: its environment is not used a second time.
func TestAnExtensionKilledAtRestIsNoticed(t *testing.T) {
	h, _ := hostWithExtension(t, "", functions.Function{})
	first := invoke(t, h, "payments-api", event{})
	e := environmentOf(t, h, first.Environment)
	if err := syscall.Kill(e.ExtensionPIDs[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	parse(t, invoke(t, h, "payments-api", event{})) // its death may not have shown yet
	if e := environmentOf(t, h, first.Environment); e.State != functions.Ended || exists(e.PID) {
		t.Errorf("the environment outlived its extension: it is %s", e.State)
	}
}

// TestEachEnvironmentHasAPortOfItsOwn: an extension listens at one and the same in each, on AWS.
func TestEachEnvironmentHasAPortOfItsOwn(t *testing.T) {
	h := newHost(t, functions.Config{})
	deploy(t, h, functions.Function{Name: "payments-api", PortVariable: "LISTEN_AT"})
	m := newMeeting(t)
	ports := make(chan string, 2)
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			r := parse(t, invoke(t, h, "payments-api", event{Do: "environ", Dial: m.address()}))
			for _, entry := range r.Environ {
				if port, ok := strings.CutPrefix(entry, "LISTEN_AT="); ok {
					ports <- port
				}
			}
		})
	}
	m.letGo(m.await(2)...)
	calls.Wait()
	if len(ports) != 2 {
		t.Fatalf("%d of 2 environments have a port", len(ports))
	}
	if one, other := <-ports, <-ports; one == other || one == "" {
		t.Errorf("the ports are %s and %s", one, other)
	}
}

func TestWhereInvocationsRunAtOnceExtensionsAreNotToldOfThem(t *testing.T) {
	h, out := hostWithExtension(t, "managed", functions.Function{NoFreeze: true})
	parse(t, invoke(t, h, "payments-api", event{}))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.HasPrefix(got, "extension: registering for INVOKE: 403\n") || strings.Contains(got, "extension: INVOKE") ||
		!strings.HasSuffix(got, "extension: SHUTDOWN SPINDOWN\n") {
		t.Errorf("the processes put out\n%s", got)
	}
}
