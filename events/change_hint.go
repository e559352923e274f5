package events

import "encoding/json"

// HintSource and HintDetailType are what a rotation function, CI or a person puts on the bus to say "look at this secret
// now". A hint may come seconds before AWS's own event. Nothing in it but the name is trusted.
const (
	HintSource     = "secret-broadcaster"
	HintDetailType = "Secret Change Hint"
)

// changeHint is our own event, {"name": "/bank/…"}.
func changeHint() shape {
	return shape{source: HintSource, detailType: HintDetailType, parse: func(e Envelope) (Signal, error) {
		var detail struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(e.Detail, &detail); err != nil {
			return Signal{}, err
		}
		if detail.Name == "" {
			return Signal{}, malformedAt{"$.detail.name", "must be the secret's name"}
		}
		s, err := named(detail.Name)
		if err != nil {
			return Signal{}, err
		}
		s.Kind, s.Time, s.Replay = Check, e.Time, e.Replay
		return s, nil
	}}
}
