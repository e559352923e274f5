package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/bank-platform/secret-broadcaster/subscribers/secretcache"
)

const (
	// servedWithin is how long a run waits to be served its change: long for a change whose event came, short for one that
	// waits for the next tick.
	servedWithin = time.Minute
	// readEvery is how often it reads meanwhile. A read is one of memory; the log is checked every CheckEvery.
	readEvery = 100 * time.Millisecond
)

const current = "AWSCURRENT"

var (
	errNotServed = errors.New("the change is not served")
	errOutdated  = errors.New("what is served is not what is current, before anything was changed")
)

// A canary changes its secret and waits to be served the change.
type canary struct {
	env, domain, name string
	vault             *secretsmanager.Client
	cache             *secretcache.Cache
	secret            *secretcache.Secret
	logger            *slog.Logger
	metrics           io.Writer
}

// A run is what one came to.
type run struct {
	Secret       string `json:"secret"`
	VersionID    string `json:"versionId"` // the one that was made current
	Revision     int64  `json:"revision"`  // of the log, when it was served
	Milliseconds int64  `json:"milliseconds"`
}

// handle answers an invocation, whatever it carries, by a run. Its error says why the change was not served.
func (c *canary) handle(ctx context.Context) (run, error) {
	r, err := c.run(ctx)
	if err != nil {
		c.logger.ErrorContext(ctx, "the canary failed", "secret", c.name, "versionId", r.VersionID, "error", err)
	} else {
		c.logger.InfoContext(ctx, "the canary was served its change",
			"secret", r.Secret, "versionId", r.VersionID, "revision", r.Revision, "milliseconds", r.Milliseconds)
	}
	return r, errors.Join(err, c.measure(r, err))
}

func (c *canary) run(ctx context.Context) (run, error) {
	r := run{Secret: c.name}
	is, err := c.versions(ctx)
	if err != nil {
		return r, err
	}
	cached, err := c.secret.Get(ctx)
	switch {
	case err != nil:
		return r, err
	case cached.VersionID() != is.current:
		// Also what the run before has left behind: to move AWSCURRENT back to it would look as if it had been served.
		return r, fmt.Errorf("%w: %s is served, %s is current", errOutdated, cached.VersionID(), is.current)
	}
	changed := time.Now()
	if r.VersionID, err = c.change(ctx, is); err != nil {
		return r, err
	}
	if err := c.await(ctx, r.VersionID); err != nil {
		return r, err
	}
	r.Milliseconds = time.Since(changed).Milliseconds()
	r.Revision, _ = c.cache.Position()
	return r, nil
}

// versions are the two that a run moves AWSCURRENT between.
type versions struct{ current, other string }

func (c *canary) versions(ctx context.Context) (versions, error) {
	out, err := c.vault.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &c.name})
	if err != nil {
		return versions{}, fmt.Errorf("describing secret %s: %w", c.name, err)
	}
	var is versions
	for id, labels := range out.VersionIdsToStages {
		if slices.Contains(labels, current) {
			is.current = id
		} else {
			is.other = id
		}
	}
	return is, nil
}

// change moves AWSCURRENT to the other version, as the last step of a rotation and as a roll back do: no value is needed for
// it. A secret with one version is given another, of random text, which is the same kind of change.
func (c *canary) change(ctx context.Context, is versions) (version string, err error) {
	if is.other == "" {
		out, err := c.vault.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &c.name, SecretString: aws.String(rand.Text())})
		if err != nil {
			return "", fmt.Errorf("giving secret %s a second version: %w", c.name, err)
		}
		return aws.ToString(out.VersionId), nil
	}
	_, err = c.vault.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: &c.name, VersionStage: aws.String(current), MoveToVersionId: &is.other, RemoveFromVersionId: &is.current,
	})
	if err != nil {
		return "", fmt.Errorf("making version %s of secret %s current: %w", is.other, c.name, err)
	}
	return is.other, nil
}

// await reads until the version is served.
func (c *canary) await(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeout(ctx, servedWithin)
	defer cancel()
	next := time.NewTicker(readEvery)
	defer next.Stop()
	for {
		value, err := c.secret.Get(ctx)
		if value.VersionID() == version {
			return nil
		}
		select {
		case <-next.C:
		case <-ctx.Done():
			revision, _ := c.cache.Position()
			return errors.Join(fmt.Errorf("%w within %v, with the log at revision %d", errNotServed, servedWithin, revision), err)
		}
	}
}
