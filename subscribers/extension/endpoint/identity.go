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

// Strangers cannot be told from this environment's own new credentials without a look-up. So these are bounded, and who waits
// for one: whoever comes then is a stranger.
const (
	lookUpEvery   = 100 * time.Millisecond
	lookUpTimeout = 5 * time.Second
	// maxWaiting leaves half of the requests that are answered at once to those whose credentials are known.
	maxWaiting = maxRequests / 2
)

var (
	errNoCredentials = errors.New("this environment's credentials cannot be had")
	errStranger      = errors.New("the credentials are not this environment's")
)

// An Identity knows this environment's credentials. Lambda may replace them while the environment lives, and the function
// learns of that earlier or later than the extension: so those before the current ones are known too. It is safe for
// concurrent use.
type Identity struct {
	tokens []string

	lookingUp sync.Mutex            // held by the look-up that is under way
	spare     *aws.CredentialsCache // looks up beside the cache in use; nil if credentials are never replaced
	began     time.Time             // when the last look-up did

	mu                sync.Mutex
	cache             *aws.CredentialsCache
	current, previous aws.Credentials
	next              *lookUp // begins once the one under way has ended; nil if nobody waits for it
	waiting           int
}

// A lookUp is waited for by all who came before it began.
type lookUp struct {
	done chan struct{}
	err  error
}

var _ aws.CredentialsProvider = (*Identity)(nil)

// NewIdentity returns the identity whose credentials a cache has. Those that take their place are looked up by the spare one,
// which is nil if none ever do. The HTTP API takes the given tokens as it takes the credentials' session token.
func NewIdentity(cache, spare *aws.CredentialsCache, tokens ...string) *Identity {
	return &Identity{cache: cache, spare: spare, tokens: tokens}
}

// Retrieve implements aws.CredentialsProvider.
func (i *Identity) Retrieve(ctx context.Context) (aws.Credentials, error) {
	i.mu.Lock()
	cache := i.cache
	i.mu.Unlock()
	c, err := cache.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("%w: %w", errNoCredentials, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if cache == i.cache {
		i.learn(c)
	}
	return c, nil
}

// learn notes which credentials are current. The caller holds mu.
func (i *Identity) learn(c aws.Credentials) {
	if c.AccessKeyID != i.current.AccessKeyID {
		i.previous, i.current = i.current, c
	}
}

// find looks for what is known of this environment's credentials, and has them be looked up if it is not among that. It
// returns errNoCredentials if that fails, and errStranger if they do not have it either.
func (i *Identity) find(ctx context.Context, isKnown func() bool) error {
	if isKnown() {
		return nil
	}
	if _, err := i.Retrieve(ctx); err != nil {
		return err
	}
	if isKnown() {
		return nil
	}
	if err := i.lookAgain(ctx); err != nil {
		return err
	}
	if isKnown() {
		return nil
	}
	return errStranger
}

// ofKey returns the credentials with this access key id, or what find returns.
func (i *Identity) ofKey(ctx context.Context, accessKeyID string) (c aws.Credentials, err error) {
	err = i.find(ctx, func() bool {
		var ok bool
		c, ok = i.withKey(accessKeyID)
		return ok
	})
	return c, err
}

// lookAgain waits until the credentials have been looked up anew, by a look-up that began after it was called. The known ones
// stay if that fails.
func (i *Identity) lookAgain(ctx context.Context) error {
	next, err := i.join()
	if err != nil {
		return err
	}
	defer i.leave()
	select {
	case <-next.done:
		return next.err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNoCredentials, ctx.Err())
	}
}

// join returns the next look-up, or an error if there is none to wait for.
func (i *Identity) join() (*lookUp, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.spare == nil {
		return nil, errStranger
	}
	if i.waiting == maxWaiting {
		return nil, fmt.Errorf("%w: %d requests wait for them to be looked up again", errNoCredentials, maxWaiting)
	}
	i.waiting++
	if i.next == nil {
		i.next = &lookUp{done: make(chan struct{})}
		go i.lookUp(i.next)
	}
	return i.next, nil
}

func (i *Identity) leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waiting--
}

// lookUp looks the credentials up, after the look-up before it. The cache in use is left alone until there are new ones.
func (i *Identity) lookUp(this *lookUp) {
	i.lookingUp.Lock()
	defer i.lookingUp.Unlock()
	defer close(this.done)
	time.Sleep(lookUpEvery - time.Since(i.began))
	i.began = time.Now()
	i.mu.Lock()
	i.next = nil
	i.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), lookUpTimeout)
	defer cancel()
	i.spare.Invalidate()
	c, err := i.spare.Retrieve(ctx)
	if err != nil {
		this.err = fmt.Errorf("%w: %w", errNoCredentials, err)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cache, i.spare = i.spare, i.cache
	i.learn(c)
}

func (i *Identity) known() []aws.Credentials {
	i.mu.Lock()
	defer i.mu.Unlock()
	return []aws.Credentials{i.current, i.previous}
}

func (i *Identity) withKey(accessKeyID string) (aws.Credentials, bool) {
	for _, c := range i.known() {
		if c.AccessKeyID != "" && c.AccessKeyID == accessKeyID {
			return c, true
		}
	}
	return aws.Credentials{}, false
}

// accepts reports whether a token of the HTTP API is this environment's.
func (i *Identity) accepts(ctx context.Context, token string) bool {
	return token != "" && i.find(ctx, func() bool { return i.knows(token) }) == nil
}

func (i *Identity) knows(token string) bool {
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
