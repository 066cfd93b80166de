// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package await waits in tests for what happens by itself. Nothing may depend on how long it takes.
package await

import (
	"testing"
	"time"
)

// period is the time between two looks.
const period = 100 * time.Millisecond

// Until returns once check is satisfied; check returns what is the matter otherwise, with which the test ends after patience.
func Until(t testing.TB, patience time.Duration, what string, check func() (ok bool, state string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
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
