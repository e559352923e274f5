package endpoint_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A slowWrite is a write that Secrets Manager does when it is told to, and answers when it is told to, whatever its caller
// does. The caller has gone by then.
type slowWrite struct {
	do, answer chan struct{}
	done, over chan struct{}
}

// writeSlowly has somebody write through the endpoint and leave before anything has come of it.
func (w *world) writeSlowly(id, value string) slowWrite {
	w.t.Helper()
	s := slowWrite{make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	w.behind(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("X-Amz-Target") != "secretsmanager.PutSecretValue" {
			return w.vault.RoundTripper().RoundTrip(r)
		}
		answered := make(chan *http.Response, 1)
		go func() {
			<-s.do
			answer, err := w.vault.RoundTripper().RoundTrip(r.Clone(context.WithoutCancel(r.Context())))
			if err != nil {
				w.t.Error(err)
			}
			close(s.done)
			<-s.answer
			answered <- answer
		}()
		select {
		case answer := <-answered:
			return answer, nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	})
	body := fmt.Sprintf(`{"SecretId":%q,"SecretString":%q,"ClientRequestToken":"%032d"}`, id, value, len(id+value))
	ctx, leave := context.WithCancel(w.t.Context())
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body))
	headers := w.signed("PutSecretValue", body)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	go func() {
		defer close(s.over)
		w.endpoint.ServeHTTP(httptest.NewRecorder(), request)
	}()
	synctest.Wait()
	leave()
	synctest.Wait()
	return s
}

// TestNothingIsServedFromMemoryWhileItIsWritten: nobody knows when Secrets Manager does a write, but that it is done when it is
// answered. That is so as well if who asked for it has gone, so that a write is waited for all the same.
func TestNothingIsServedFromMemoryWhileItIsWritten(t *testing.T) {
	for _, name := range []string{password, outside} {
		for by := range 3 {
			for of := range 3 {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.put(name, "zeroth")
					w.put(name, "first")
					ids := w.idsOf(name)
					path := "/v1/" + ids[of]
					previous := path + "?versionStage=AWSPREVIOUS"
					both := func(current, before string) {
						t.Helper()
						w.wantText(path, current)
						w.wantText(previous, before)
						time.Sleep(time.Millisecond) // each read is at a time of its own
					}
					both("first", "zeroth")
					write := w.writeSlowly(ids[by], "second")
					both("first", "zeroth")
					both("first", "zeroth")
					close(write.do)
					<-write.done
					both("second", "first")
					w.behind(w.refuses("ThrottlingException"))
					for _, path := range []string{path, previous} {
						if status, body, _ := w.get(path); !strings.Contains(body, "ThrottlingException") {
							t.Errorf("%s while it is not known what is current: got %d %s", path, status, body)
						}
					}
					w.behind(nil)
					close(write.answer)
					<-write.over
					both("second", "first")
					w.called()
					both("second", "first")
					w.wantCalls(0, "once the write is over")
				})
			}
		}
	}
}

// TestOtherSecretsAreServedFromMemoryWhileOneIsWritten.
func TestOtherSecretsAreServedFromMemoryWhileOneIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(password, "first")
		w.put(outside, "other")
		w.wantText("/v1/"+outside, "other")
		write := w.writeSlowly(password, "second")
		w.called()
		w.wantText("/v1/"+outside, "other")
		w.wantCalls(0, "another secret")
		close(write.do)
		close(write.answer)
		<-write.over
	})
}

// TestTwoWritesAtOnce: until the last one is over nobody knows what is current.
func TestTwoWritesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(password, "first")
		w.wantText("/v1/"+password, "first")
		slow := w.writeSlowly(password, "third")
		w.behind(nil)
		w.write(password, "second")
		w.wantText("/v1/"+password, "second")
		time.Sleep(time.Millisecond)
		close(slow.do)
		<-slow.done
		w.wantText("/v1/"+password, "third")
		time.Sleep(time.Millisecond)
		close(slow.answer)
		<-slow.over
		w.wantText("/v1/"+password, "third")
	})
}

// TestAWriteIsNotWaitedForWithoutEnd: who waits for it gets an error then, and reads are answered from memory again.
func TestAWriteIsNotWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(password, "first")
		began := time.Now()
		write := w.writeSlowly(password, "second")
		<-write.over
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("it was waited for %v, want half a minute", took)
		}
		w.behind(nil)
		w.wantText("/v1/"+password, "first")
		w.called()
		w.wantText("/v1/"+password, "first")
		w.wantCalls(0, "afterwards")
		close(write.do)
		close(write.answer)
	})
}

// TestAWriteIsOfTheSecretThatSecretsManagerReads: by the members' exact names, and each where there are two.
func TestAWriteIsOfTheSecretThatSecretsManagerReads(t *testing.T) {
	for _, body := range []string{
		`{"SecretString":"second","SecretId":"` + password + `","secretid":"/other"}`,
		`{"SecretId":"` + password + `","SecretString":"second","SECRETID":null}`,
		`{"SecretId":"` + password + `","SecretString":"second","SecretId":"/other"}`,
		`{"SecretId":"/other","SecretString":"second","SecretId":"` + password + `"}`,
	} {
		w := newWorld(t)
		w.put(password, "first")
		w.wantText("/v1/"+password, "first")
		w.behind(func(r *http.Request) (*http.Response, error) {
			w.put(password, "second")
			return httptest.NewRecorder().Result(), nil
		})
		if status, answer := w.sign("PutSecretValue", body); status != http.StatusOK {
			t.Errorf("got %d %s", status, answer)
		}
		w.behind(nil)
		w.wantText("/v1/"+password, "second")
	}
}
