package events

// HintSource and HintDetailType are what a rotation function, CI or a person puts on the bus to say "look at this secret
// now". A hint may come seconds before AWS's own event. Nothing in it but the name is trusted.
const (
	HintSource     = "secret-broadcaster"
	HintDetailType = "Secret Change Hint"
)

// changeHint is our own event, {"name": "/bank/…"}.
func changeHint() shape {
	return shape{source: HintSource, detailType: HintDetailType, parse: func(d *document) (Signal, error) {
		s, err := d.about(Check, ref{"$.detail.name", d.Detail.Name, isName})
		s.Account, s.Region = "", "" // where it arose is where somebody put it, as an account for CI, not where the secret is
		return s, err
	}}
}
