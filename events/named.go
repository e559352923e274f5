package events

// Named returns a Signal about a secret that somebody asks to look at, by its name or by an ARN, which may lack its suffix: then
// nothing but DescribeSecret, asked by that ARN, tells the name. Its error says what is wrong with the id and does not quote it.
func Named(id string) (Signal, error) {
	s, err := identify(ref{"the secret", id, byCaller})
	s.Kind = Check
	return s, err
}
