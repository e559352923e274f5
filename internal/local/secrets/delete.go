package secrets

import (
	"strings"
	"time"
)

const (
	defaultWindow = 30 // days
	minWindow     = 7
	maxWindow     = 30
)

// DeleteSecretInput asks to delete a secret after a window of 7 to 30 days (0:
// 30), or at once.
type DeleteSecretInput struct {
	SecretID                   string
	RecoveryWindowInDays       int
	ForceDeleteWithoutRecovery bool
}

// DeleteSecretOutput says from when on the secret is gone for good. ARN is
// empty if there was none.
type DeleteSecretOutput struct {
	ARN, Name    string
	DeletionDate time.Time
}

// DeleteSecret marks a secret for deletion: at once it answers to
// DescribeSecret, ListSecrets with IncludePlannedDeletion and RestoreSecret
// only. Forced, its name is free at once; that succeeds also if there is no
// such secret.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html
func (m *Manager) DeleteSecret(in DeleteSecretInput) (DeleteSecretOutput, error) {
	window := in.RecoveryWindowInDays
	switch {
	case window != 0 && in.ForceDeleteWithoutRecovery:
		return DeleteSecretOutput{}, refuse(InvalidParameter, "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
	case window == 0:
		window = defaultWindow
	case window < minWindow || window > maxWindow:
		return DeleteSecretOutput{}, refuse(InvalidParameter, "The RecoveryWindowInDays value must be between %d and %d days (inclusive).", minWindow, maxWindow)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cfg.Now()
	s := m.find(in.SecretID, time.Time{})
	switch {
	case s == nil && in.ForceDeleteWithoutRecovery:
		return DeleteSecretOutput{Name: strings.TrimPrefix(in.SecretID, m.prefix), DeletionDate: later(now, time.Time{})}, nil
	case s == nil:
		return DeleteSecretOutput{}, notFound()
	case in.ForceDeleteWithoutRecovery:
		m.record(s.name, now, nil)
		return DeleteSecretOutput{s.arn, s.name, later(now, time.Time{})}, nil
	case !s.deleted.IsZero():
		return DeleteSecretOutput{}, refuse(InvalidRequest, "You can't perform this operation on the secret because it was already scheduled for deletion.")
	}
	next := s.next(now)
	next.deleted = next.changed
	next.purge = next.deleted.AddDate(0, 0, window)
	m.record(next.name, now, next)
	return DeleteSecretOutput{next.arn, next.name, next.purge}, nil
}

// RestoreSecretOutput names the secret.
type RestoreSecretOutput struct{ ARN, Name string }

// RestoreSecret takes back a deletion that is scheduled. One that is not is
// refused with InvalidRequest.
func (m *Manager) RestoreSecret(secretID string) (RestoreSecretOutput, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.find(secretID, time.Time{})
	switch {
	case s == nil:
		return RestoreSecretOutput{}, notFound()
	case s.deleted.IsZero():
		return RestoreSecretOutput{}, refuse(InvalidRequest, "Secret is not scheduled for deletion.")
	}
	now := m.cfg.Now()
	next := s.next(now)
	next.deleted, next.purge = time.Time{}, time.Time{}
	m.record(next.name, now, next)
	return RestoreSecretOutput{next.arn, next.name}, nil
}
