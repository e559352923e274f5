package endpoint

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// askAgainEvery bounds how often requests signed with unknown credentials can have this environment's be looked up.
const askAgainEvery = time.Second

var (
	errNoCredentials = errors.New("this environment's credentials cannot be had")
	errStranger      = errors.New("the credentials are not this environment's")
)

// An identity knows this environment's credentials. Lambda may replace them while the environment lives, and the function
// learns of that earlier or later than the extension: so those before the current ones are known too.
type identity struct {
	provider aws.CredentialsProvider
	tokens   []string

	mu                sync.Mutex
	current, previous aws.Credentials
	asked             time.Time // when unknown credentials last had these be looked up
}

// own returns the current credentials.
func (i *identity) own(ctx context.Context) (aws.Credentials, error) {
	c, err := i.provider.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%w: %w", errNoCredentials, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if c.AccessKeyID != i.current.AccessKeyID {
		i.previous, i.current = i.current, c
	}
	return c, nil
}

// find looks for what is known of this environment's credentials, and has them be looked up if it is not among that. It
// returns errNoCredentials if that fails, and errStranger if they do not have it either.
func (i *identity) find(ctx context.Context, isKnown func() bool) error {
	if isKnown() {
		return nil
	}
	for {
		if _, err := i.own(ctx); err != nil {
			return err
		}
		if isKnown() {
			return nil
		}
		if !i.lookAgain() {
			return errStranger
		}
	}
}

// ofKey returns the credentials with this access key id, or what find returns.
func (i *identity) ofKey(ctx context.Context, accessKeyID string) (c aws.Credentials, err error) {
	err = i.find(ctx, func() bool {
		var ok bool
		c, ok = i.withKey(accessKeyID)
		return ok
	})
	return c, err
}

// lookAgain has the credentials be looked up anew, unless that was done just now.
func (i *identity) lookAgain() bool {
	cache, ok := i.provider.(interface{ Invalidate() })
	if !ok {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	now := time.Now()
	if now.Sub(i.asked) < askAgainEvery {
		return false
	}
	i.asked = now
	cache.Invalidate()
	return true
}

func (i *identity) known() []aws.Credentials {
	i.mu.Lock()
	defer i.mu.Unlock()
	return []aws.Credentials{i.current, i.previous}
}

func (i *identity) withKey(accessKeyID string) (aws.Credentials, bool) {
	for _, c := range i.known() {
		if c.AccessKeyID != "" && c.AccessKeyID == accessKeyID {
			return c, true
		}
	}
	return aws.Credentials{}, false
}

// accepts reports whether a token of the HTTP API is this environment's.
func (i *identity) accepts(ctx context.Context, token string) bool {
	return token != "" && i.find(ctx, func() bool { return i.knows(token) }) == nil
}

func (i *identity) knows(token string) bool {
	known := slices.Clone(i.tokens)
	for _, c := range i.known() {
		known = append(known, c.SessionToken)
	}
	accepted := 0
	for _, one := range known {
		accepted |= subtle.ConstantTimeCompare([]byte(one), []byte(token))
	}
	return accepted == 1
}
