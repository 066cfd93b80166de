// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package await waits in tests for what happens by itself. Nothing may depend on how long it takes.
package await

import (
	"testing"
	"time"
)

// The time between two looks: it grows from the first to the second, because a look is often a process of its own, which in a
// long wait would take the processor from what is waited for.
const (
	firstPeriod = 50 * time.Millisecond
	lastPeriod  = 500 * time.Millisecond
)

// Until returns once check is satisfied; check returns what is the matter otherwise, with which the test ends after patience.
func Until(t testing.TB, patience time.Duration, what string, check func() (ok bool, state string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for period := firstPeriod; ; period = min(period*5/4, lastPeriod) {
		ok, state := check()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still not so after %s: %s", what, patience, state)
		}
		time.Sleep(period)
	}
}
