// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// readiness is whether this replica can answer an admission request rightly.
type readiness struct {
	// synced are the informers' answers to whether they hold everything.
	synced []func() bool
	// certificate returns the serving certificate in use.
	certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	now         func() time.Time

	draining atomic.Bool
}

// drain makes the replica not ready for good.
func (r *readiness) drain() { r.draining.Store(true) }

// check returns why the replica is not ready.
func (r *readiness) check() error {
	if r.draining.Load() {
		return errors.New("stopping")
	}
	for _, synced := range r.synced {
		if !synced() {
			return errors.New("informers are not synced")
		}
	}
	certificate, err := r.certificate(nil)
	if err != nil || certificate == nil || certificate.Leaf == nil {
		return errors.New("no serving certificate is loaded")
	}
	if now := r.now(); now.Before(certificate.Leaf.NotBefore) || now.After(certificate.Leaf.NotAfter) {
		return fmt.Errorf("the serving certificate is valid from %s to %s only: API servers will refuse it",
			certificate.Leaf.NotBefore.Format(time.RFC3339), certificate.Leaf.NotAfter.Format(time.RFC3339))
	}
	return nil
}
