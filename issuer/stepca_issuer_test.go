// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build stepca

package issuer

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// nobody are Verifiers of whom there are none.
type nobody struct{}

func (nobody) Publish(context.Context, *v1alpha1.MeshIssuer, []*x509.Certificate) error { return nil }

func (nobody) Missing(context.Context, *v1alpha1.MeshIssuer, certs.Record, *Signer) ([]string, error) {
	return nil, nil
}

// TestStepCAMeshIssuer: a MeshIssuer in the mode StepCA becomes ready, signs what the policy grants through a real step-ca,
// refuses a kubelet's empty request, and says so when the step-ca is gone.
func TestStepCAMeshIssuer(t *testing.T) {
	ca := newRealStepCA(t)
	source := ca.source("signet")
	source.SecretRef = v1alpha1.SecretReference{Namespace: "signet-system", Name: "step"}
	issuer := &v1alpha1.MeshIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "mesh", UID: "mesh-uid"},
		Spec:       v1alpha1.MeshIssuerSpec{CA: v1alpha1.CASource{Mode: v1alpha1.ModeStepCA, StepCA: &source}, TrustDomain: "kafka.signet.dev"},
	}
	api := fake.NewClientBuilder().WithScheme(testScheme(t)).WithStatusSubresource(&v1alpha1.MeshIssuer{}).WithObjects(issuer,
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "signet-system", Name: "step"}, Data: ca.provisioner.secret(t)}).Build()
	named := certs.NewNamed(func(certs.Reference) cache.ListerWatcher { return nil }, api, api)
	authorities := certs.NewAuthorities(named, api, api, "signet-system")
	signers := NewSigners(named, authorities)
	controller := &MeshIssuerController{
		Client: api, Named: named, Authorities: authorities, Signers: signers, Verifiers: nobody{}, Rotation: certs.DefaultRotation,
		Recorder: events.NewFakeRecorder(100), Now: time.Now,
	}
	ready := func() metav1.Condition {
		t.Helper()
		if _, err := controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(issuer)}); err != nil {
			t.Fatal(err)
		}
		var now v1alpha1.MeshIssuer
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(issuer), &now); err != nil {
			t.Fatal(err)
		}
		return *meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady)
	}
	if c := ready(); c.Status != metav1.ConditionTrue {
		t.Fatalf("Ready is %+v", c)
	}
	record, err := authorities.Record(t.Context(), "mesh")
	if err != nil || len(record.Trusted()) != 1 || !record.Trusted()[0].Equal(ca.root) {
		t.Fatalf("trusted are %v (%v), want the step-ca's root", record.Trusted(), err)
	}
	signer, err := signers.SignerFor(t.Context(), issuer)
	if err != nil {
		t.Fatal(err)
	}
	f := honest(t, p256(t))
	identity, err := UserIdentity(f.User, f.Cluster, issuer)
	if err != nil {
		t.Fatal(err)
	}
	key := p256(t)
	csr, err := identity.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	signed, refusal, err := signer.Sign(t.Context(), Grant{Identity: identity, PublicKey: key.Public(), Duration: time.Hour, CSR: csr}, time.Now())
	if err != nil || refusal != nil {
		t.Fatal(refusal, err)
	}
	if !signed.CA.Equal(ca.intermediate) || len(signed.Intermediates) != 1 || strings.Count(string(signed.Chain), "BEGIN CERTIFICATE") != 2 {
		t.Errorf("signed by %s, %d intermediates", signed.CA.Subject, len(signed.Intermediates))
	}
	_, refusal, err = signer.Sign(t.Context(), Grant{Identity: identity, PublicKey: key.Public(), Duration: time.Hour}, time.Now())
	if err != nil || refusal == nil || refusal.Reason != ReasonNeedsRequest {
		t.Errorf("an empty request: refused %v, error %v", refusal, err)
	}
	ca.stop()
	if _, _, err := signer.Sign(t.Context(), Grant{Identity: identity, PublicKey: key.Public(), Duration: time.Hour, CSR: csr}, time.Now()); err == nil || errors.Is(err, errNotAsGranted) {
		t.Errorf("with the step-ca down: %v, want an error worth a retry", err)
	}
	if c := ready(); c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "cannot be renewed at the moment") {
		t.Errorf("with the step-ca down Ready is %+v", c)
	}
}
