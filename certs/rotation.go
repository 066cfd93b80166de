// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Source is the CA that a MeshIssuer asks for, as it is now.
type Source struct {
	// ID changes with whatever makes another authority necessary: mode, trust domain, CA certificate, roots.
	ID string
	// Mode is how the MeshIssuer signs.
	Mode v1alpha1.CAMode
	// CA is the mesh CA, or a step-ca's roots; nil where it cannot be had at the moment.
	CA *CA
}

// NewSource identifies the CA of an issuer. The lifetime of the intermediate is no part of it: a change counts at the
// next renewal.
func NewSource(issuer *v1alpha1.MeshIssuer, ca *CA) Source {
	s := Source{Mode: Mode(issuer), CA: ca}
	if ca == nil {
		return s
	}
	parts := []string{string(s.Mode), TrustDomain(issuer), Fingerprint(ca.Certificate.Raw)}
	for _, c := range ca.Intermediates {
		parts = append(parts, Fingerprint(c.Raw))
	}
	parts = append(parts, "roots")
	for _, c := range ca.Roots {
		parts = append(parts, Fingerprint(c.Raw))
	}
	s.ID = Fingerprint([]byte(strings.Join(parts, "\n")))
	return s
}

// Mode returns how the issuer signs.
func Mode(issuer *v1alpha1.MeshIssuer) v1alpha1.CAMode {
	if issuer.Spec.CA.Mode == "" {
		return v1alpha1.ModeIntermediate
	}
	return issuer.Spec.CA.Mode
}

// Step is what has to happen next in a rotation.
type Step int

const (
	// StepNone is nothing, until something changes or the recheck is due.
	StepNone Step = iota
	// StepMake is to make an authority from the source and hand it to Adopt.
	StepMake
	// StepForgetNext is taken where the source is again what it was; the CA that was being distributed signs nothing.
	StepForgetNext
	// StepSeenTrusted records that Next is trusted everywhere from now on.
	StepSeenTrusted
	// StepSeenUntrusted records that somebody no longer trusts Next.
	StepSeenUntrusted
	// StepPromote lets Next sign from now on.
	StepPromote
	// StepRetire is taken when the last certificate of every retired authority has expired; their roots leave the bundles.
	StepRetire
	// StepSettle is taken when no bundle has a retired root any more.
	StepSettle
)

// String names the step for the log.
func (s Step) String() string {
	return [...]string{"none", "make", "forget next", "seen trusted", "seen untrusted", "promote", "retire", "settle"}[s]
}

// trustSettle is how long a new root is in every bundle before anything is signed below it: the kubelet brings a changed
// ConfigMap into a running pod within about a minute and a half.
const trustSettle = 2 * time.Minute

// observeEvery is how often those who have to trust a new root are looked at again while they do not.
const observeEvery = 10 * time.Second

// RotationSettings are the durations of a rotation.
type RotationSettings struct {
	// Settle is how long a root is in every bundle before anything is signed below it.
	Settle time.Duration
	// Observe is the time between two looks at bundles and brokers.
	Observe time.Duration
}

// DefaultRotation is right for the kubelets of Kubernetes.
var DefaultRotation = RotationSettings{Settle: trustSettle, Observe: observeEvery}

// RotationPlan is the next step, why, and when to plan again at the latest.
type RotationPlan struct {
	Step Step
	// Message says what is waited for, for status.rotation.
	Message string
	// Recheck is zero where only a change can alter the plan.
	Recheck time.Time
}

// PlanRotation decides the next step of a MeshIssuer's rotation. missing names whoever does not yet trust exactly what
// the record says (a bundle, a broker); it matters while Distributing and Retiring only. Steps are taken one by one, each
// with one write of the record, so that a controller that dies goes on where it was.
//
// The old CA signs on until the new root is trusted, and its root is trusted until its last certificate has expired.
// The one exception is a CA that cannot sign any more: then nothing is lost by not waiting for those who do not answer.
func PlanRotation(r Record, source Source, missing []string, settings RotationSettings, now time.Time) RotationPlan {
	if r.Signing == nil {
		if source.CA == nil {
			return RotationPlan{Message: "waits for a CA"}
		}
		return RotationPlan{Step: StepMake}
	}
	if plan, decided := planSource(r, source, now); decided {
		return plan
	}
	switch r.Phase {
	case v1alpha1.RotationDistributing:
		return planDistributing(r, missing, settings, now)
	case v1alpha1.RotationSigning:
		until := leavesUntil(r.Retired)
		if !now.Before(until) {
			return RotationPlan{Step: StepRetire}
		}
		return RotationPlan{
			Message: "the former CA stays trusted until its last certificate has expired, at " + until.UTC().Format(time.RFC3339),
			Recheck: Soonest(until, renewAt(r.Signing)),
		}
	case v1alpha1.RotationRetiring:
		switch settled := r.Since.Add(settings.Settle); {
		case len(missing) > 0:
			return RotationPlan{Message: "waits until these no longer hold the former root: " + some(missing), Recheck: now.Add(settings.Observe)}
		case now.Before(settled):
			return RotationPlan{Message: "no bundle holds the former root any more", Recheck: Soonest(settled, now.Add(settings.Observe))}
		}
		return RotationPlan{Step: StepSettle}
	}
	return RotationPlan{Recheck: renewAt(r.Signing)}
}

// planSource decides whether another authority is needed.
func planSource(r Record, source Source, now time.Time) (RotationPlan, bool) {
	if source.CA == nil {
		return RotationPlan{}, false // what there is stays
	}
	latest := r.Signing
	if r.Next != nil {
		latest = r.Next
	}
	switch {
	case r.Next != nil && source.ID == r.Signing.Source:
		return RotationPlan{Step: StepForgetNext}, true
	case source.ID != latest.Source:
		return RotationPlan{Step: StepMake}, true
	case latest.Mode == v1alpha1.ModeIntermediate && !now.Before(renewAt(latest)) && source.CA.CheckTime(now) == nil && outlives(source.CA, latest, now):
		return RotationPlan{Step: StepMake}, true
	}
	return RotationPlan{}, false
}

// outlives tells whether a new intermediate would live longer than the present one: one that is cut to the life of the
// CA above would else be made again and again.
func outlives(source *CA, a *Authority, now time.Time) bool {
	return source.NotAfter(now).After(a.CA.Certificate.NotAfter)
}

func planDistributing(r Record, missing []string, settings RotationSettings, now time.Time) RotationPlan {
	spent := now.After(r.Signing.CA.NotAfter(now).Add(-spentMargin))
	switch {
	case len(missing) > 0 && spent:
		return RotationPlan{Step: StepPromote, Message: "the former CA has expired; not waited for: " + some(missing)}
	case len(missing) > 0 && !r.TrustedSince.IsZero():
		return RotationPlan{Step: StepSeenUntrusted}
	case len(missing) > 0:
		return RotationPlan{Message: "waits until these trust the new root: " + some(missing), Recheck: now.Add(settings.Observe)}
	case r.TrustedSince.IsZero():
		return RotationPlan{Step: StepSeenTrusted}
	case now.Before(r.TrustedSince.Add(settings.Settle)):
		return RotationPlan{
			Message: "the new root is in every bundle and every broker accepts it; it signs from " + r.TrustedSince.Add(settings.Settle).UTC().Format(time.RFC3339),
			Recheck: Soonest(r.TrustedSince.Add(settings.Settle), now.Add(settings.Observe)),
		}
	}
	return RotationPlan{Step: StepPromote}
}

// spentMargin before its end a CA cannot sign any certificate worth having.
const spentMargin = 10 * time.Minute

// MakeAuthority makes the authority that a MeshIssuer's source asks for: an intermediate below it, or the CA itself
// without its key. Errors wrap those of ReasonOf where an administrator has to do something.
func MakeAuthority(issuer *v1alpha1.MeshIssuer, source Source, now time.Time) (Authority, error) {
	made := Authority{Mode: source.Mode, Source: source.ID}
	if source.Mode != v1alpha1.ModeIntermediate {
		keyless := *source.CA
		keyless.Key = nil
		made.CA = &keyless
		return made, nil
	}
	life := defaultIntermediateLife
	if d := issuer.Spec.CA.IntermediateDuration; d != nil {
		life = d.Duration
	}
	ca, err := NewIntermediate(source.CA, TrustDomain(issuer), life, now)
	if err != nil {
		return Authority{}, fmt.Errorf("make an intermediate for meshissuer %s: %w", issuer.Name, err)
	}
	made.CA = ca
	return made, nil
}

// defaultIntermediateLife is that of the API.
const defaultIntermediateLife = 90 * 24 * time.Hour

// Take returns the record after a step other than StepMake and StepNone.
func (r Record) Take(step Step, now time.Time) Record {
	now = now.UTC().Truncate(time.Second)
	enter := func(phase v1alpha1.RotationPhase) {
		if r.Phase != phase {
			r.Phase, r.Since = phase, now
		}
	}
	settled := func() {
		if len(r.Retired) > 0 {
			enter(v1alpha1.RotationSigning)
		} else {
			enter(v1alpha1.RotationStable)
		}
	}
	switch step {
	case StepForgetNext:
		r.Next, r.TrustedSince = nil, time.Time{}
		settled()
	case StepSeenTrusted:
		r.TrustedSince = now
	case StepSeenUntrusted:
		r.TrustedSince = time.Time{}
	case StepPromote:
		r = r.succeed(*r.Next)
		r.Next, r.TrustedSince = nil, time.Time{}
		settled()
	case StepRetire:
		r.Retired = nil
		enter(v1alpha1.RotationRetiring)
	case StepSettle:
		enter(v1alpha1.RotationStable)
	}
	return r
}

// Adopt returns the record with an authority that was just made: one whose roots are all trusted already signs at once
// (the renewal of an intermediate, the first CA of all); another is distributed first.
func (r Record) Adopt(made Authority, now time.Time) Record {
	now = now.UTC().Truncate(time.Second)
	if r.Signing == nil {
		return Record{Phase: v1alpha1.RotationStable, Since: now, Signing: &made}
	}
	settled := Record{Signing: r.Signing, Retired: r.Retired}
	trusted := settled.Trusted()
	if !isSubsetOf(made.CA.Roots, trusted) {
		r.Next, r.TrustedSince = &made, time.Time{}
		if r.Phase != v1alpha1.RotationDistributing {
			r.Phase, r.Since = v1alpha1.RotationDistributing, now
		}
		return r
	}
	if r.Next != nil && r.Next.Source == made.Source {
		// The CA that is being distributed was due for renewal; it stays the next.
		r.Next = &made
		return r
	}
	r = r.succeed(made)
	r.Next, r.TrustedSince = nil, time.Time{}
	phase := v1alpha1.RotationStable
	if len(r.Retired) > 0 {
		phase = v1alpha1.RotationSigning
	}
	if r.Phase != phase && (r.Phase != v1alpha1.RotationRetiring || phase != v1alpha1.RotationStable) {
		r.Phase, r.Since = phase, now
	}
	return r
}

// succeed makes another authority the one that signs. What verified certificates of the former one stays trusted for as
// long as any may live: by the new one's roots where they are the same, else as a retired authority.
func (r Record) succeed(next Authority) Record {
	former := *r.Signing
	var retired []Authority
	for _, a := range r.Retired {
		if isSubsetOf(a.CA.Roots, next.CA.Roots) {
			next.LeavesUntil = latest(next.LeavesUntil, a.LeavesUntil)
			continue
		}
		retired = append(retired, a)
	}
	if isSubsetOf(former.CA.Roots, next.CA.Roots) {
		next.LeavesUntil = latest(next.LeavesUntil, former.LeavesUntil)
	} else {
		keyless := *former.CA
		keyless.Key = nil
		former.CA = &keyless
		retired = append(retired, former)
	}
	r.Signing, r.Retired = &next, retired
	return r
}

// renewAt is when an authority with a key of Signet's own is made anew: at two thirds of its certificate's life. One
// without such a key is renewed by whoever has it; zero.
func renewAt(a *Authority) time.Time {
	if a.CA.Key == nil {
		return time.Time{}
	}
	return dueAt(a.CA.Certificate)
}

func leavesUntil(retired []Authority) time.Time {
	var until time.Time
	for _, a := range retired {
		until = latest(until, a.LeavesUntil)
	}
	return until
}

func isSubsetOf(some, all []*x509.Certificate) bool {
	return !slices.ContainsFunc(some, func(c *x509.Certificate) bool { return !slices.ContainsFunc(all, c.Equal) })
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Soonest returns the earlier of two times, of which zero means never.
func Soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// some names the first few.
func some(names []string) string {
	const most = 3
	text := strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
