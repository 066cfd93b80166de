// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/elliptic"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

var p256Curve = elliptic.P256()

// testLogger writes to the test's log.
func testLogger(t testing.TB) logr.Logger {
	return funcr.New(func(prefix, args string) { t.Log(prefix, args) }, funcr.Options{})
}

// recordReader reads what is recorded from one reader and everything else from another.
type recordReader struct {
	client.Reader
	records client.Reader
}

func (r recordReader) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	if _, ok := into.(*corev1.Secret); ok && key.Name == v1alpha1.AuthoritiesSecret {
		return r.records.Get(ctx, key, into, opts...)
	}
	return r.Reader.Get(ctx, key, into, opts...)
}

// testSigners returns the Signers of a MeshIssuer in the mode Direct whose CA is in the Secret that the reader has now.
func testSigners(t testing.TB, reader client.Reader, issuer *v1alpha1.MeshIssuer) (*Signers, *certs.Authorities) {
	t.Helper()
	records := fake.NewClientBuilder().WithScheme(testScheme(t)).Build()
	both := recordReader{reader, records}
	named := certs.NewNamed(func(certs.Reference) cache.ListerWatcher { return nil }, both, both)
	authorities := certs.NewAuthorities(named, records, records, "signet-system")
	adopt(t, authorities, named, issuer)
	return NewSigners(named, authorities), authorities
}

// adopt records the CA in the MeshIssuer's Secret, if there is one, as the one that signs, in the mode Direct.
func adopt(t testing.TB, authorities *certs.Authorities, reader client.Reader, issuer *v1alpha1.MeshIssuer) {
	t.Helper()
	if issuer == nil {
		return
	}
	issuer = issuer.DeepCopy()
	issuer.Spec.CA.Mode = v1alpha1.ModeDirect
	ca, err := certs.ReadCA(context.Background(), reader, issuer)
	if err != nil {
		return
	}
	_, err = authorities.Change(context.Background(), issuer.Name, func(certs.Record) (certs.Record, bool, error) {
		made, err := certs.MakeAuthority(issuer, certs.NewSource(issuer, ca), ca.Certificate.NotBefore.Add(time.Minute))
		return certs.Record{}.Adopt(made, testNow), true, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDirectSignersFollowTheRecordAndTheSecret: the CA that is recorded signs and no other, for as long as its key is to
// be had.
func TestDirectSignersFollowTheRecordAndTheSecret(t *testing.T) {
	from, to := testNow.Add(-time.Hour), testNow.Add(1000*time.Hour)
	first, second := newCA(t, "one", p256(t), nil, from, to), newCA(t, "two", p256(t), nil, from, to)
	reader := &secretReader{}
	reader.secret.Store(first.secret(t, "1", first))
	issuer := honest(t, p256(t)).Issuer
	signers, authorities := testSigners(t, reader, issuer)
	get := func() *Signer {
		t.Helper()
		s, err := signers.SignerFor(t.Context(), issuer)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := get()
	if get() != a || !a.CA().Certificate.Equal(first.certificate) || a.CA().Key != nil {
		t.Error("nothing changed, the signer did; or it is another CA; or the key is where it can be read")
	}
	reader.secret.Store(second.secret(t, "2", second))
	grant, refusal := Decide(honest(t, p256(t)))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if signed, _, err := get().Sign(t.Context(), *grant, testNow); err != nil || !signed.CA.Equal(first.certificate) {
		t.Errorf("the Secret was replaced, and before the new CA is recorded it signs: %v", err)
	}
	restarted := NewSigners(signers.reader, authorities)
	if _, err := restarted.SignerFor(t.Context(), issuer); !errors.Is(err, certs.ErrDistributing) {
		t.Errorf("a controller that never had the former key: %v", err)
	}
	broken := second.secret(t, "3", second)
	delete(broken.Data, "ca-key.pem")
	reader.secret.Store(broken)
	for range 2 {
		if _, err := signers.SignerFor(t.Context(), issuer); !errors.Is(err, certs.ErrCAInvalid) || !strings.Contains(err.Error(), "istio-system/istio-ca-secret") {
			t.Errorf("half-written Secret: %v", err)
		}
	}
	reader.secret.Store(second.secret(t, "4", second))
	adopt(t, authorities, signers.reader, issuer)
	if b := get(); !b.CA().Certificate.Equal(second.certificate) {
		t.Error("the CA that is recorded now does not sign")
	}
	signers.Forget(issuer.Name)
	if err := authorities.Forget(t.Context(), issuer.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := signers.SignerFor(t.Context(), issuer); !errors.Is(err, certs.ErrNotSetUp) {
		t.Errorf("of a MeshIssuer that is gone: %v", err)
	}
}

// TestNothingIsSignedThatIsNotReserved: before a certificate is signed it is recorded until when one may be valid; where
// another CA signs by now, nothing is.
func TestNothingIsSignedThatIsNotReserved(t *testing.T) {
	from, to := testNow.Add(-time.Hour), testNow.Add(1000*time.Hour)
	first, second := newCA(t, "one", p256(t), nil, from, to), newCA(t, "two", p256(t), nil, from, to)
	reader := &secretReader{}
	reader.secret.Store(first.secret(t, "1", first))
	issuer := honest(t, p256(t)).Issuer
	signers, authorities := testSigners(t, reader, issuer)
	grant, refusal := Decide(honest(t, p256(t)))
	if refusal != nil {
		t.Fatal(refusal)
	}
	signer, err := signers.SignerFor(t.Context(), issuer)
	if err != nil {
		t.Fatal(err)
	}
	writes := 0
	var last time.Time
	for i := range 20 {
		now := testNow.Add(time.Duration(i) * 10 * time.Minute)
		signed, refusal, err := signer.Sign(t.Context(), *grant, now)
		if err != nil || refusal != nil {
			t.Fatal(refusal, err)
		}
		record, err := authorities.Record(t.Context(), issuer.Name)
		if err != nil {
			t.Fatal(err)
		}
		if record.Signing.LeavesUntil.Before(signed.Certificate.NotAfter) {
			t.Fatalf("signed until %s, recorded until %s", signed.Certificate.NotAfter, record.Signing.LeavesUntil)
		}
		if !record.Signing.LeavesUntil.Equal(last) {
			writes++
			last = record.Signing.LeavesUntil
		}
	}
	if writes < 2 || writes > 5 {
		t.Errorf("%d writes for three hours of signing, want one for each", writes)
	}
	reader.secret.Store(second.secret(t, "2", second))
	adopt(t, authorities, signers.reader, issuer)
	if signed, _, err := signer.Sign(t.Context(), *grant, testNow.Add(100*time.Hour)); !errors.Is(err, certs.ErrSuperseded) {
		t.Errorf("a signer of yesterday signs: %v, %v", signed, err)
	}
}

func TestAssessIssuer(t *testing.T) {
	issuer := honest(t, p256(t)).Issuer
	mesh := newCA(t, "mesh", p256(t), nil, testNow.Add(-time.Hour), testNow.Add(time.Hour))
	reader := &secretReader{}
	reader.secret.Store(mesh.secret(t, "1", mesh))
	signers, authorities := testSigners(t, reader, issuer)
	signer, err := signers.SignerFor(t.Context(), issuer)
	if err != nil {
		t.Fatal(err)
	}
	record, err := authorities.Record(t.Context(), issuer.Name)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		after  time.Duration
		status metav1.ConditionStatus
		reason string
		again  time.Duration // from testNow; 0 for never
	}{
		"valid":     {0, metav1.ConditionTrue, v1alpha1.ReasonReady, 50*time.Minute + time.Second},
		"ends soon": {51 * time.Minute, metav1.ConditionFalse, v1alpha1.ReasonCAExpired, 0},
		"expired":   {2 * time.Hour, metav1.ConditionFalse, v1alpha1.ReasonCAExpired, 0},
		"not yet":   {-2 * time.Hour, metav1.ConditionFalse, v1alpha1.ReasonCAExpired, -time.Hour},
	} {
		now := testNow.Add(test.after)
		c, status, again := AssessIssuer(Assessment{Issuer: issuer, Record: record, Problem: signer.Usable(now)}, now)
		if c.Status != test.status || c.Reason != test.reason || status.CA == nil || status.CA.Subject != "O=mesh" || status.Rotation.Phase != v1alpha1.RotationStable || status.SignerName != "kafka.signet.dev/mesh" {
			t.Errorf("%s: %+v, %+v", name, c, status)
		}
		if test.again == 0 && !again.IsZero() || test.again != 0 && !again.Equal(testNow.Add(test.again)) {
			t.Errorf("%s: looks again at %s", name, again)
		}
	}
	c, status, _ := AssessIssuer(Assessment{Issuer: issuer, Problem: certs.ErrCANotFound}, testNow)
	if c.Reason != v1alpha1.ReasonCANotFound || status.CA != nil {
		t.Errorf("no CA: %+v, %+v", c, status)
	}
	c, _, _ = AssessIssuer(Assessment{Issuer: issuer, Record: record, SourceProblem: certs.ErrCANotFound}, testNow)
	if c.Reason != v1alpha1.ReasonReady || !strings.Contains(c.Message, "cannot be renewed at the moment: CA not found") {
		t.Errorf("its CA is gone, and it signs on: %+v", c)
	}
}
