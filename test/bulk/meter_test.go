package bulk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// cost is what one environment asked of AWS.
type cost struct {
	fetches map[string]int // GetSecretValue by name
	checks  int            // reads of the log
	units   float64        // read units of these
	reports int
}

// A meter is one environment's way to AWS, and counts what goes over it.
type meter struct {
	tables, secrets http.RoundTripper

	mu   sync.Mutex
	cost cost
}

// reset returns what was counted since it was called last.
func (m *meter) reset() cost {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.cost
	m.cost = cost{}
	return was
}

func (m *meter) count(add func(c *cost)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	add(&m.cost)
}

// RoundTrip implements http.RoundTripper. What the meter does not know it refuses: nothing is left uncounted.
func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch _, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); operation {
	case "GetSecretValue":
		var of struct {
			SecretID string `json:"SecretId"`
		}
		if err := json.Unmarshal(body, &of); err != nil {
			return nil, err
		}
		m.count(func(c *cost) {
			if c.fetches == nil {
				c.fetches = map[string]int{}
			}
			c.fetches[of.SecretID]++
		})
		return m.secrets.RoundTrip(r)
	case "Query":
		return m.query(r, body)
	case "PutItem":
		m.count(func(c *cost) { c.reports++ })
		return m.tables.RoundTrip(r)
	default:
		return nil, fmt.Errorf("an environment called %s", operation)
	}
}

// query reads the log, and has the table say what that costs.
func (m *meter) query(r *http.Request, body []byte) (*http.Response, error) {
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	in["ReturnConsumedCapacity"] = "TOTAL"
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	response, err := m.tables.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	var out struct {
		ConsumedCapacity struct{ CapacityUnits float64 }
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return nil, err
	}
	m.count(func(c *cost) {
		c.checks++
		c.units += out.ConsumedCapacity.CapacityUnits
	})
	return response, nil
}

// onceEach is how often each of some secrets is fetched if each is fetched once and no other is.
func onceEach(names map[string]bool) map[string]int {
	if len(names) == 0 {
		return nil
	}
	fetches := map[string]int{}
	for name := range maps.Keys(names) {
		fetches[name] = 1
	}
	return fetches
}
