// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// directSource is the source of a Direct issuer whose mesh CA is this root.
func directSource(root authority) Source {
	issuer := testIssuer()
	issuer.Spec.CA.Mode = v1alpha1.ModeDirect
	return NewSource(issuer, &CA{Certificate: root.certificate, Key: root.key, Roots: []*x509.Certificate{root.certificate}})
}

// intermediateSource is the same in the default mode.
func intermediateSource(root authority) Source {
	return NewSource(testIssuer(), &CA{Certificate: root.certificate, Key: root.key, Roots: []*x509.Certificate{root.certificate}})
}

// advance takes steps until there is none to take, and returns them.
func advance(t *testing.T, r Record, source Source, missing []string, now time.Time) (Record, []Step, RotationPlan) {
	t.Helper()
	issuer := testIssuer()
	issuer.Spec.CA.Mode = source.Mode
	var steps []Step
	for range 10 {
		plan := PlanRotation(r, source, missing, DefaultRotation, now)
		if plan.Step == StepNone {
			return r, steps, plan
		}
		steps = append(steps, plan.Step)
		if plan.Step != StepMake {
			r = r.Take(plan.Step, now)
			continue
		}
		made, err := MakeAuthority(issuer, source, now)
		if err != nil {
			t.Fatal(err)
		}
		r = r.Adopt(made, now)
	}
	t.Fatalf("it does not come to rest: %v", steps)
	return r, steps, RotationPlan{}
}

// TestRotationWithANewKey walks one rotation through its phases, in both modes that have a Secret.
func TestRotationWithANewKey(t *testing.T) {
	for name, source := range map[string]func(authority) Source{"Direct": directSource, "Intermediate": intermediateSource} {
		t.Run(name, func(t *testing.T) {
			first, second := newAuthority(t, "first", newKey(t), nil, nil), newAuthority(t, "second", newKey(t), nil, nil)
			now := testNow
			r, steps, _ := advance(t, Record{}, source(first), nil, now)
			expect := func(phase v1alpha1.RotationPhase, signing string, trusted int, want ...Step) {
				t.Helper()
				if r.Phase != phase || r.Signing.CA.Roots[0].Subject.Organization[0] != signing || len(r.Trusted()) != trusted || !slices.Equal(steps, want) {
					t.Fatalf("phase %s, signing below %s, %d roots trusted, after steps %v; want %s, %s, %d, %v",
						r.Phase, r.Signing.CA.Roots[0].Subject, len(r.Trusted()), steps, phase, signing, trusted, want)
				}
				if err := r.check(); err != nil {
					t.Fatal(err)
				}
				text, err := r.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if r, err = DecodeRecord(text); err != nil {
					t.Fatal(err)
				}
			}
			expect(v1alpha1.RotationStable, "first", 1, StepMake)
			r.Signing.LeavesUntil = now.Add(6 * time.Hour)

			r, steps, _ = advance(t, r, source(second), []string{"broker"}, now)
			expect(v1alpha1.RotationDistributing, "first", 2, StepMake)
			now = now.Add(24 * time.Hour)
			r, steps, _ = advance(t, r, source(second), []string{"broker"}, now)
			expect(v1alpha1.RotationDistributing, "first", 2)
			r.Signing.LeavesUntil = now.Add(6 * time.Hour)
			r, steps, _ = advance(t, r, source(second), nil, now)
			expect(v1alpha1.RotationDistributing, "first", 2, StepSeenTrusted)
			now = now.Add(time.Minute)
			r, steps, _ = advance(t, r, source(second), []string{"broker"}, now) // it was rolled back
			expect(v1alpha1.RotationDistributing, "first", 2, StepSeenUntrusted)
			r, steps, _ = advance(t, r, source(second), nil, now)
			expect(v1alpha1.RotationDistributing, "first", 2, StepSeenTrusted)
			now = now.Add(trustSettle)
			r, steps, _ = advance(t, r, source(second), nil, now)
			expect(v1alpha1.RotationSigning, "second", 2, StepPromote)
			if r.Retired[0].CA.Key != nil {
				t.Error("a key is kept that signs nothing any more")
			}
			now = r.Retired[0].LeavesUntil.Add(-time.Second)
			r, steps, _ = advance(t, r, source(second), nil, now)
			expect(v1alpha1.RotationSigning, "second", 2)
			now = now.Add(time.Second)
			r, steps, _ = advance(t, r, source(second), []string{"configmap"}, now)
			expect(v1alpha1.RotationRetiring, "second", 1, StepRetire)
			now = now.Add(trustSettle)
			r, steps, _ = advance(t, r, source(second), nil, now)
			expect(v1alpha1.RotationStable, "second", 1, StepSettle)
		})
	}
}

// TestRotationPlans are the cases off the straight way.
func TestRotationPlans(t *testing.T) {
	root, other := newAuthority(t, "root", newKey(t), nil, nil), newAuthority(t, "other", newKey(t), nil, nil)
	// Istio's own rotation: a new certificate of the same key.
	renewed := newAuthority(t, "root", root.key, nil, func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(365 * 24 * time.Hour) })
	ending := newAuthority(t, "ending", newKey(t), nil, func(c *x509.Certificate) { c.NotAfter = testNow.Add(50 * time.Hour) })
	stable, _, _ := advance(t, Record{}, intermediateSource(root), nil, testNow)
	stable.Signing.LeavesUntil = testNow.Add(6 * time.Hour)
	distributing, _, _ := advance(t, stable, intermediateSource(other), []string{"x"}, testNow)
	short, _, _ := advance(t, Record{}, intermediateSource(ending), nil, testNow)
	shortRotating, _, _ := advance(t, short, intermediateSource(other), []string{"x"}, testNow)
	none := NewSource(testIssuer(), nil)
	due := dueAt(stable.Signing.CA.Certificate)
	for name, test := range map[string]struct {
		record  Record
		source  Source
		missing []string
		after   time.Duration
		steps   []Step
		phase   v1alpha1.RotationPhase
		roots   int
		signing string
	}{
		"nothing to do":                         {stable, intermediateSource(root), nil, 0, nil, v1alpha1.RotationStable, 1, "root"},
		"CA gone: what signs goes on":           {stable, none, nil, time.Hour, nil, v1alpha1.RotationStable, 1, "root"},
		"intermediate due":                      {stable, intermediateSource(root), nil, due.Sub(testNow), []Step{StepMake}, v1alpha1.RotationStable, 1, "root"},
		"intermediate not due":                  {stable, intermediateSource(root), nil, due.Sub(testNow) - time.Second, nil, v1alpha1.RotationStable, 1, "root"},
		"intermediate due, CA gone":             {stable, none, nil, due.Sub(testNow), nil, v1alpha1.RotationStable, 1, "root"},
		"CA about to end: no new one each pass": {short, intermediateSource(ending), nil, 49 * time.Hour, nil, v1alpha1.RotationStable, 1, "ending"},
		"same key, new certificate":             {stable, intermediateSource(renewed), []string{"x"}, 0, []Step{StepMake}, v1alpha1.RotationDistributing, 2, "root"},
		"mode Direct":                           {stable, directSource(root), []string{"x"}, 0, []Step{StepMake}, v1alpha1.RotationStable, 1, "root"},
		"the former CA is back":                 {distributing, intermediateSource(root), []string{"x"}, time.Hour, []Step{StepForgetNext}, v1alpha1.RotationStable, 1, "root"},
		"a third CA before the second signed":   {distributing, intermediateSource(ending), []string{"x"}, time.Hour, []Step{StepMake}, v1alpha1.RotationDistributing, 2, "root"},
		"the former CA ends while distributing": {shortRotating, intermediateSource(other), []string{"x"}, 49*time.Hour + 51*time.Minute, []Step{StepPromote, StepRetire}, v1alpha1.RotationRetiring, 1, "other"},
		"and not before":                        {shortRotating, intermediateSource(other), []string{"x"}, 49*time.Hour + 49*time.Minute, nil, v1alpha1.RotationDistributing, 2, "ending"},
	} {
		t.Run(name, func(t *testing.T) {
			r, steps, plan := advance(t, test.record, test.source, test.missing, testNow.Add(test.after))
			if !slices.Equal(steps, test.steps) || r.Phase != test.phase || len(r.Trusted()) != test.roots {
				t.Errorf("steps %v, phase %s, %d roots; want %v, %s, %d", steps, r.Phase, len(r.Trusted()), test.steps, test.phase, test.roots)
			}
			if got := r.Signing.CA.Roots[0].Subject.Organization[0]; got != test.signing {
				t.Errorf("signs below %s, want %s", got, test.signing)
			}
			if r.Phase == v1alpha1.RotationDistributing && len(test.missing) > 0 && !strings.Contains(plan.Message, "x") {
				t.Errorf("it does not say who is waited for: %q", plan.Message)
			}
			if err := r.check(); err != nil {
				t.Error(err)
			}
		})
	}
	if plan := PlanRotation(Record{}, none, nil, DefaultRotation, testNow); plan.Step != StepNone {
		t.Errorf("with no CA at all: %v", plan.Step)
	}
	// A renewed intermediate answers for what the one before it signed.
	r, _, _ := advance(t, stable, intermediateSource(root), nil, due)
	if r.Signing.CA.Certificate.Equal(stable.Signing.CA.Certificate) || !r.Signing.LeavesUntil.Equal(stable.Signing.LeavesUntil) {
		t.Error("the renewed intermediate forgets until when certificates are valid")
	}
}

// verifier is somebody who trusts what was recorded when it last looked.
type verifier struct {
	name  string
	roots []*x509.Certificate
}

func (v verifier) accepts(l leaf) bool {
	return slices.ContainsFunc(l.roots, func(c *x509.Certificate) bool { return slices.ContainsFunc(v.roots, c.Equal) })
}

// leaf is a certificate: it verifies by any of these roots until it expires.
type leaf struct {
	roots    []*x509.Certificate
	notAfter time.Time
}

// TestNoCertificateIsEverRefused is the law of rotation: whatever the mesh CA is replaced with and however late brokers
// and bundles follow, whichever writes are lost, each verifier accepts each certificate that is still valid, as long as
// the CAs themselves live. Time is simulated; the certificates of the CAs are real.
func TestNoCertificateIsEverRefused(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewSource(seed))
	var roots []authority
	for i := range 4 {
		roots = append(roots, newAuthority(t, fmt.Sprint("root-", i), newKey(t), nil, func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(10 * 365 * 24 * time.Hour) }))
	}
	// The same key with another certificate is another root that verifies the same leaves only by its own certificate
	// here, which is stricter than real verifiers are.
	roots = append(roots, newAuthority(t, "root-0", roots[0].key, nil, func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(10 * 365 * 24 * time.Hour) }))
	promotions, retirements, refusals := 0, 0, 0
	for run := range 40 {
		now := testNow
		source := directSource(roots[run%len(roots)])
		r, _, _ := advance(t, Record{}, source, nil, now)
		verifiers := []verifier{{name: "broker-0"}, {name: "broker-1"}, {name: "bundle"}}
		for i := range verifiers {
			verifiers[i].roots = r.Trusted()
		}
		var leaves []leaf
		for range 600 {
			now = now.Add(time.Duration(random.Intn(900)) * time.Second)
			if random.Intn(25) == 0 {
				source = directSource(roots[random.Intn(len(roots))])
			}
			for i := range verifiers {
				if random.Intn(4) == 0 {
					verifiers[i].roots = r.Trusted()
				}
			}
			var missing []string
			for _, v := range verifiers {
				if !slices.EqualFunc(v.roots, r.Trusted(), (*x509.Certificate).Equal) {
					missing = append(missing, v.name)
				}
			}
			plan := PlanRotation(r, source, missing, DefaultRotation, now)
			next := r
			switch plan.Step {
			case StepNone:
			case StepMake:
				issuer := testIssuer()
				issuer.Spec.CA.Mode = source.Mode
				made, err := MakeAuthority(issuer, source, now)
				if err != nil {
					t.Fatal(err)
				}
				next = r.Adopt(made, now)
			default:
				next = r.Take(plan.Step, now)
			}
			if random.Intn(5) > 0 { // else the write is lost, and the step is planned again
				if plan.Step == StepPromote {
					promotions++
				}
				if plan.Step == StepRetire {
					retirements++
				}
				r = next
			}
			if err := r.check(); err != nil {
				t.Fatalf("run %d: after %s: %v", run, plan.Step, err)
			}
			// Somebody gets a certificate, after it was recorded how long it lives.
			signing := *r.Signing
			l := leaf{roots: signing.CA.Roots, notAfter: now.Add(time.Duration(10+random.Intn(350)) * time.Minute)}
			signing.LeavesUntil = latest(signing.LeavesUntil, l.notAfter)
			r.Signing = &signing
			leaves = append(slices.DeleteFunc(leaves, func(l leaf) bool { return !now.Before(l.notAfter) }), l)
			for _, v := range verifiers {
				for _, l := range leaves {
					if !v.accepts(l) {
						refusals++
						t.Errorf("run %d: after %s in phase %s %s refuses a certificate that is valid for %s", run, plan.Step, r.Phase, v.name, l.notAfter.Sub(now))
					}
				}
			}
			if refusals > 5 {
				t.FailNow()
			}
		}
	}
	if promotions < 50 || retirements < 50 {
		t.Errorf("%d promotions, %d retirements: the runs prove little", promotions, retirements)
	}
}

func TestRecordIsReadBackOrRefused(t *testing.T) {
	root, other := newAuthority(t, "root", newKey(t), nil, nil), newAuthority(t, "other", newKey(t), nil, nil)
	r, _, _ := advance(t, Record{}, intermediateSource(root), nil, testNow)
	r, _, _ = advance(t, r, intermediateSource(other), []string{"x"}, testNow)
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeRecord(text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.Encode()
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("read back it is another record (%v)", err)
	}
	swapped := r
	swapped.Next = &Authority{Mode: r.Next.Mode, Source: r.Next.Source, CA: &CA{Certificate: r.Next.CA.Certificate, Key: r.Signing.CA.Key, Intermediates: r.Next.CA.Intermediates, Roots: r.Next.CA.Roots}}
	keyless := r
	keyless.Signing = &Authority{Mode: r.Signing.Mode, CA: &CA{Certificate: r.Signing.CA.Certificate, Intermediates: r.Signing.CA.Intermediates, Roots: r.Signing.CA.Roots}}
	foreign := r
	foreign.Signing = &Authority{Mode: r.Signing.Mode, CA: &CA{Certificate: r.Signing.CA.Certificate, Key: r.Signing.CA.Key, Intermediates: r.Signing.CA.Intermediates, Roots: []*x509.Certificate{other.certificate}}}
	phase := r
	phase.Phase = v1alpha1.RotationStable
	noSigner := r
	noSigner.Signing = nil
	encode := func(r Record) []byte {
		t.Helper()
		text, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	secret := text[bytes.Index(text, []byte("PRIVATE KEY-----"))+18:][:60]
	for name, bad := range map[string][]byte{
		"half written":          text[:len(text)/2],
		"empty":                 nil,
		"not JSON":              []byte("-----BEGIN PRIVATE KEY-----" + string(secret)),
		"another field":         bytes.Replace(text, []byte(`"phase"`), []byte(`"phases"`), 1),
		"two records":           append(bytes.Clone(text), text...),
		"too long":              append(bytes.Clone(text), bytes.Repeat([]byte(" "), maxRecordBytes)...),
		"another's key":         encode(swapped),
		"a key is missing":      encode(keyless),
		"chain to another root": encode(foreign),
		"phase does not fit":    encode(phase),
		"nobody signs":          encode(noSigner),
		"key damaged":           bytes.Replace(text, secret[:20], bytes.Repeat([]byte("A"), 20), 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeRecord(bad)
			if ReasonOf(err) != v1alpha1.ReasonCAInvalid {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), string(secret)) || strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("the error quotes the record: %v", err)
			}
		})
	}
}

func FuzzDecodeRecord(f *testing.F) {
	root := newAuthority(f, "root", newKey(f), nil, nil)
	made, err := MakeAuthority(testIssuer(), intermediateSource(root), testNow)
	if err != nil {
		f.Fatal(err)
	}
	r := Record{}.Adopt(made, testNow)
	text, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"phase":"Stable"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := DecodeRecord(text)
		if err != nil {
			if ReasonOf(err) == "" {
				t.Fatalf("error without a reason: %v", err)
			}
			return
		}
		if r.Signing == nil || len(r.Trusted()) == 0 {
			t.Fatal("accepted a record that trusts nobody")
		}
		PlanRotation(r, NewSource(testIssuer(), nil), nil, DefaultRotation, testNow)
	})
}
