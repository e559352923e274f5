package history

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Rotation is how a secret's automatic rotation stands, by what ListSecrets says
// (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_SecretListEntry.html).
type Rotation struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
	// Last is when it was rotated last, and Next the day by which it is to be rotated again; zero if there is none.
	Last time.Time `json:"last,omitzero"`
	Next time.Time `json:"next,omitzero"`
	// Overdue: that day is over.
	Overdue bool `json:"overdue"`
}

// Rotations lists how secrets are rotated.
type Rotations interface {
	// Rotations returns every secret whose name begins with the prefix, but for those scheduled for deletion. Overdue is not
	// set.
	Rotations(ctx context.Context, prefix string) ([]Rotation, error)
}

// JudgeRotations says which are overdue, and sorts: those first, by how long; then what is not rotated; then what is next.
func JudgeRotations(all []Rotation, now time.Time) {
	for i := range all {
		all[i].Overdue = all[i].Enabled && !all[i].Next.IsZero() && all[i].Next.Before(now)
	}
	slices.SortFunc(all, func(a, b Rotation) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), a.Next.Compare(b.Next), cmp.Compare(a.Name, b.Name))
	})
}

func (r Rotation) rank() int {
	switch {
	case r.Overdue:
		return 0
	case !r.Enabled:
		return 1
	}
	return 2
}
