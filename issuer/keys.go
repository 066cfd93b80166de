// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"container/heap"
	"crypto/x509"
	"encoding/pem"
	"sync"
	"time"
)

// maxKnownKeys bounds the keys that are remembered: about 25 MB. 10,000 KafkaUsers with a Secret and 10,000 pods need
// less than half.
const maxKnownKeys = 100_000

// Keys remembers whose each certified public key is until the last certificate with it has expired. Two identities with
// one key can pass for each other, so that neither's access means anything.
//
// It is a memory of this process: Learn brings in what is found in the requests that still exist. Where there are more
// keys than it holds, those whose certificates expire first are forgotten.
type Keys struct {
	mu    sync.Mutex
	limit int
	known map[string]*knownKey
	byEnd keysByEnd
}

type knownKey struct {
	fingerprint, identity string
	notAfter              time.Time
	index                 int
}

// NewKeys returns an empty Keys that remembers at most limit keys.
func NewKeys(limit int) *Keys { return &Keys{limit: limit, known: map[string]*knownKey{}} }

// Holder returns the identity (its URI) that has an unexpired certificate for the key with this fingerprint
// (KeyFingerprint), or "".
func (k *Keys) Holder(fingerprint string, now time.Time) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if known, ok := k.known[fingerprint]; ok && now.Before(known.notAfter) {
		return known.identity
	}
	return ""
}

// Claim records that the key is identity's until notAfter. Where another identity has it, that one is returned and
// nothing changes; so of two that come at once, one gets it.
func (k *Keys) Claim(fingerprint, identity string, notAfter, now time.Time) (holder string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.byEnd) > 0 && !now.Before(k.byEnd[0].notAfter) {
		k.drop()
	}
	if known, ok := k.known[fingerprint]; ok {
		if known.identity != identity {
			return known.identity
		}
		if notAfter.After(known.notAfter) {
			known.notAfter = notAfter
			heap.Fix(&k.byEnd, known.index)
		}
		return ""
	}
	if !now.Before(notAfter) {
		return ""
	}
	known := &knownKey{fingerprint: fingerprint, identity: identity, notAfter: notAfter}
	k.known[fingerprint] = known
	heap.Push(&k.byEnd, known)
	if len(k.byEnd) > k.limit {
		k.drop()
	}
	return ""
}

// Learn claims the key of a certificate that was issued before: the first of a PEM chain. What cannot be read, has
// expired or has not exactly one URI is no certificate of this issuer and is ignored.
func (k *Keys) Learn(chain []byte, now time.Time) {
	block, _ := pem.Decode(chain)
	if block == nil {
		return
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || len(leaf.URIs) != 1 {
		return
	}
	k.Claim(KeyFingerprint(leaf.PublicKey), leaf.URIs[0].String(), leaf.NotAfter, now)
}

func (k *Keys) drop() {
	first := heap.Pop(&k.byEnd).(*knownKey)
	delete(k.known, first.fingerprint)
}

// keysByEnd is a heap (container/heap) with the key whose last certificate expires first on top.
type keysByEnd []*knownKey

func (h keysByEnd) Len() int           { return len(h) }
func (h keysByEnd) Less(i, j int) bool { return h[i].notAfter.Before(h[j].notAfter) }

func (h keysByEnd) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is heap.Interface's.
func (h *keysByEnd) Push(x any) {
	known := x.(*knownKey)
	known.index = len(*h)
	*h = append(*h, known)
}

// Pop is heap.Interface's.
func (h *keysByEnd) Pop() any {
	last := len(*h) - 1
	known := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return known
}
