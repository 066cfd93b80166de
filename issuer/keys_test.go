// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestKeysBelongToOne(t *testing.T) {
	k := NewKeys(10)
	end := testNow.Add(time.Hour)
	if got := k.Claim("key", "a", end, testNow); got != "" {
		t.Errorf("a new key is %q's", got)
	}
	if got := k.Claim("key", "b", end, testNow); got != "a" {
		t.Errorf("b gets a's key; holder %q", got)
	}
	if got := k.Claim("key", "a", end.Add(time.Hour), testNow); got != "" {
		t.Errorf("a's own key is %q's", got)
	}
	if got := k.Holder("key", end.Add(time.Minute)); got != "a" {
		t.Errorf("after the renewal the holder is %q", got)
	}
	if got := k.Claim("key", "a", end, testNow); got != "" || k.Holder("key", end.Add(time.Minute)) != "a" {
		t.Error("a shorter certificate ends the longer one")
	}
	after := end.Add(time.Hour)
	if got := k.Holder("key", after); got != "" {
		t.Errorf("expired, and still %q's", got)
	}
	if got := k.Claim("key", "b", after.Add(time.Hour), after); got != "" || k.Holder("key", after) != "b" {
		t.Errorf("expired, and b does not get it: %q", got)
	}
	if got := k.Holder("other", testNow); got != "" {
		t.Errorf("an unknown key is %q's", got)
	}
}

func TestKeysAreBounded(t *testing.T) {
	const limit = 100
	k := NewKeys(limit)
	r := rand.New(rand.NewPCG(1, 2))
	for _, i := range r.Perm(10 * limit) {
		k.Claim(strconv.Itoa(i), "a", testNow.Add(time.Duration(i+1)*time.Second), testNow)
	}
	if len(k.known) != limit || len(k.byEnd) != limit {
		t.Fatalf("%d and %d keys", len(k.known), len(k.byEnd))
	}
	for i := range 10 * limit {
		if known := k.Holder(strconv.Itoa(i), testNow) == "a"; known != (i >= 9*limit) {
			t.Errorf("key %d of %d, by end: known %t", i, 10*limit, known)
		}
	}
	later := testNow.Add(time.Duration(10*limit-10) * time.Second)
	k.Claim("new", "a", later.Add(time.Second), later)
	if len(k.known) != 11 {
		t.Errorf("%d keys after all but ten expired", len(k.known)-1)
	}
	k.Claim("expired", "a", later, later)
	if len(k.known) != 11 {
		t.Error("an expired certificate's key is remembered")
	}
}

// Of many that bring one key at once, one gets it.
func TestKeysAreClaimedOnce(t *testing.T) {
	k := NewKeys(10)
	var got atomic.Int32
	var wait sync.WaitGroup
	for i := range 50 {
		wait.Go(func() {
			if k.Claim("key", strconv.Itoa(i), testNow.Add(time.Hour), testNow) == "" {
				got.Add(1)
			}
		})
	}
	wait.Wait()
	if got.Load() != 1 {
		t.Errorf("%d identities have one key", got.Load())
	}
}

func TestKeysLearn(t *testing.T) {
	ca := newCA(t, "mesh", p256(t), nil, testNow.Add(-time.Hour), testNow.Add(1000*time.Hour))
	signed, grant := signWith(t, ca.secret(t, "1", ca), testNow)
	k := NewKeys(10)
	k.Learn(signed.Chain, testNow)
	if got := k.Holder(KeyFingerprint(grant.PublicKey), testNow); got != "spiffe://kafka.signet.dev/user/shop/orders" {
		t.Errorf("the holder is %q", got)
	}
	k = NewKeys(10)
	k.Learn(signed.Chain, signed.Certificate.NotAfter)
	for _, text := range [][]byte{nil, []byte("x"), signed.Roots, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")} {
		k.Learn(text, testNow)
	}
	if len(k.known) != 0 {
		t.Errorf("%d keys of nothing", len(k.known))
	}
}
