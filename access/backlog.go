// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// backlog is what passes over the clusters still have to look at. Changes that arrive while a pass is under way gather
// here and make the next one, which is what batches them. It lives in memory only: a controller that starts looks at
// everything.
type backlog struct {
	mu       sync.Mutex
	clusters map[types.NamespacedName]*clusterBacklog
}

type clusterBacklog struct {
	users map[types.NamespacedName]struct{}
	all   bool
	// nextAll is when drift is looked for again.
	nextAll time.Time
	// facts of the brokers, as of the last pass over everything.
	facts Facts
	// written are the bindings that were written lately.
	written map[Binding]writing
	// quotas are those that were written lately, by principal.
	quotas map[string]quotaWriting
	// unsettled is what finished passes came to for users whose status does not say so yet.
	unsettled map[types.NamespacedName]settlement
	// failures in a row, what the last one was, and until when the cluster is left alone.
	failures int
	failure  error
	retryAt  time.Time
}

// writing is what was last written of a binding.
type writing struct {
	// present tells whether it was created, not deleted; unknown, that there was no answer to it.
	present, unknown bool
	at               time.Time
}

// quotaWriting is what a principal's quotas were last written to be.
type quotaWriting struct {
	quotas Quotas
	// unknown tells that there was no answer.
	unknown bool
	at      time.Time
}

// settlement is what a pass came to for a KafkaUser: its status is still to say so.
type settlement struct {
	*subject
	// held is how many bindings the principal had in Kafka before.
	held int
}

// settling is how long a broker may go on to describe ACLs as they were before a change that the controllers of KRaft
// confirmed; usually it is milliseconds.
const settling = 30 * time.Second

// Bounds of the wait after a cluster failed; it doubles from one to the other.
const (
	minRetry = time.Second
	maxRetry = time.Minute
)

// retryConflict is how long it takes the cache, more or less, to see the change that a write collided with.
const retryConflict = 100 * time.Millisecond

func (b *backlog) of(cluster types.NamespacedName) *clusterBacklog {
	if b.clusters == nil {
		b.clusters = map[types.NamespacedName]*clusterBacklog{}
	}
	if b.clusters[cluster] == nil {
		b.clusters[cluster] = &clusterBacklog{users: map[types.NamespacedName]struct{}{}, all: true}
	}
	return b.clusters[cluster]
}

// add notes users of a cluster to look at.
func (b *backlog) add(cluster types.NamespacedName, users ...types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	for _, user := range users {
		c.users[user] = struct{}{}
	}
}

// addAll notes all users of a cluster to look at, at once even if the cluster failed a moment ago.
func (b *backlog) addAll(cluster types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	c.all, c.retryAt = true, time.Time{}
}

// work is one pass: what to look at, and what is known of the cluster.
type work struct {
	users map[types.NamespacedName]struct{}
	all   bool
	facts Facts
	// failure is why the cluster is left alone for wait; nil otherwise.
	failure error
	wait    time.Duration
}

// take returns what there is to look at, and empties the backlog of it.
func (b *backlog) take(cluster types.NamespacedName, now time.Time) work {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	w := work{users: c.users, all: c.all || !now.Before(c.nextAll), facts: c.facts}
	if now.Before(c.retryAt) {
		w.failure, w.wait = c.failure, c.retryAt.Sub(now)
	}
	c.users, c.all = map[types.NamespacedName]struct{}{}, false
	return w
}

// waiting tells whether there is something to look at.
func (b *backlog) waiting(cluster types.NamespacedName) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	return c.all || len(c.users) > 0
}

// takeUnsettled returns what is still to be settled, and empties the backlog of it.
func (b *backlog) takeUnsettled(cluster types.NamespacedName) map[types.NamespacedName]settlement {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	unsettled := c.unsettled
	c.unsettled = nil
	return unsettled
}

// keepUnsettled keeps what is still to be settled.
func (b *backlog) keepUnsettled(cluster types.NamespacedName, unsettled map[types.NamespacedName]settlement) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of(cluster).unsettled = unsettled
}

// putBack returns work that was not done.
func (b *backlog) putBack(cluster types.NamespacedName, w work) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	for user := range w.users {
		c.users[user] = struct{}{}
	}
	c.all = c.all || w.all
}

// failed notes that a cluster failed, and returns how long to leave it alone.
func (b *backlog) failed(cluster types.NamespacedName, err error, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	wait := min(minRetry<<min(c.failures, 10), maxRetry)
	wait = jitter(wait)
	c.failures++
	c.failure, c.retryAt = err, now.Add(wait)
	return wait
}

// done notes a pass that came to its end, and returns how long it is until the next one: at once for users that have
// to be looked at again, else when drift is looked for.
func (b *backlog) done(cluster types.NamespacedName, w work, period time.Duration, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	c.failures, c.failure, c.retryAt = 0, nil, time.Time{}
	if w.all {
		c.facts = w.facts
		c.nextAll = now.Add(jitter(period))
	}
	if len(c.users) > 0 || len(c.unsettled) > 0 {
		return retryConflict
	}
	return max(c.nextAll.Sub(now), minRetry)
}

// wrote notes what was written to a cluster: changed as a whole, except refused; unknown if there was no answer to a part.
func (b *backlog) wrote(cluster types.NamespacedName, change Change, refused []Refusal, unknown bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	if c.written == nil {
		c.written = map[Binding]writing{}
	}
	for _, binding := range change.Create {
		c.written[binding] = writing{present: true, unknown: unknown, at: now}
	}
	for _, d := range change.Delete {
		for _, binding := range d.Bindings {
			c.written[binding] = writing{present: false, unknown: unknown, at: now}
		}
	}
	for _, refusal := range refused {
		delete(c.written, refusal.Binding)
	}
}

// uncertain returns the bindings of which what Kafka describes cannot be trusted, because it contradicts what was written
// a moment ago.
func (b *backlog) uncertain(cluster types.NamespacedName, described []Binding, now time.Time) Bindings {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	maps.DeleteFunc(c.written, func(_ Binding, w writing) bool { return now.Sub(w.at) > settling })
	if len(c.written) == 0 {
		c.written = nil // a map does not shrink
		return nil
	}
	present := Bindings{}
	for _, binding := range described {
		if _, ok := c.written[binding]; ok {
			present[binding] = struct{}{}
		}
	}
	out := Bindings{}
	for binding, w := range c.written {
		if _, is := present[binding]; w.unknown || is != w.present {
			out[binding] = struct{}{}
		}
	}
	return out
}

// wroteQuotas notes that the quotas of principals were written to be as desired, except those that were refused; unknown if
// there was no answer to a part.
func (b *backlog) wroteQuotas(cluster types.NamespacedName, changes []QuotaChange, desired map[string]Quotas, refused map[string]error, unknown bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(cluster)
	if c.quotas == nil {
		c.quotas = map[string]quotaWriting{}
	}
	for _, change := range changes {
		if refused[change.Principal] != nil {
			delete(c.quotas, change.Principal)
		} else {
			c.quotas[change.Principal] = quotaWriting{desired[change.Principal], unknown, now}
		}
	}
}

// uncertainQuotas returns the principals of whose quotas what Kafka describes cannot be trusted, as uncertain does.
func (b *backlog) uncertainQuotas(cluster types.NamespacedName, described map[string]Quotas, now time.Time) map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]bool{}
	c := b.of(cluster)
	for principal, w := range c.quotas {
		if now.Sub(w.at) > settling {
			delete(c.quotas, principal)
		} else if w.unknown || !maps.Equal(described[principal], w.quotas) {
			out[principal] = true
		}
	}
	return out
}

// forget drops a cluster that is gone.
func (b *backlog) forget(cluster types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.clusters, cluster)
}

// jitter returns the duration give or take a tenth, so that many do not come due at once.
func jitter(d time.Duration) time.Duration { return d*9/10 + rand.N(max(d/5, 1)) }
