// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/internal/condition"
	"github.com/signet-kafka/signet/principal/subject"
)

// MeshIssuerController keeps the status of MeshIssuers: which CA signs, and whether it can.
type MeshIssuerController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Named tells of changes of the CA Secrets.
	Named *certs.Named
	// Signers holds the CAs.
	Signers *Signers
	// Recorder takes an event for each change.
	Recorder events.EventRecorder
	// Now is the clock.
	Now func() time.Time
}

// SetupWithManager registers the controller.
func (r *MeshIssuerController) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("meshissuer").
		For(&v1alpha1.MeshIssuer{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(r.Named.Source(r.issuersOfSource)).
		Complete(r)
}

// Reconcile looks at one MeshIssuer's CA.
func (r *MeshIssuerController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var issuer v1alpha1.MeshIssuer
	if err := r.Client.Get(ctx, req.NamespacedName, &issuer); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Signers.Forget(req.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Now()
	signer, err := r.Signers.SignerFor(ctx, &issuer)
	if err != nil && certs.ReasonOf(err) == "" {
		return ctrl.Result{}, err
	}
	var ca *certs.CA
	if err == nil {
		ca = signer.CA()
		err = signer.Usable(now)
	}
	want, shown, recheckAt := AssessIssuer(&issuer, ca, err, now)
	if err := r.report(ctx, &issuer, want, shown); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if recheckAt.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(recheckAt.Sub(now), time.Second)}, nil
}

// AssessIssuer returns the condition Ready of a MeshIssuer, what to show of its CA (nil: nothing known), and when time
// alone changes the answer (zero: never). problem is why its CA cannot sign at the moment.
func AssessIssuer(issuer *v1alpha1.MeshIssuer, ca *certs.CA, problem error, now time.Time) (metav1.Condition, *v1alpha1.CAStatus, time.Time) {
	c := metav1.Condition{Type: v1alpha1.ConditionReady, ObservedGeneration: issuer.Generation, LastTransitionTime: metav1.NewTime(now)}
	var shown *v1alpha1.CAStatus
	if ca != nil {
		notAfter := metav1.NewTime(ca.Certificate.NotAfter)
		shown = &v1alpha1.CAStatus{
			Subject: subjectOf(ca.Certificate), Serial: certs.SerialString(ca.Certificate),
			Fingerprint: certs.Fingerprint(ca.Certificate.Raw), NotAfter: &notAfter,
		}
	}
	if problem != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, certs.ReasonOf(problem), problem.Error()
		if ca != nil && now.Before(ca.Certificate.NotBefore) {
			return c, shown, ca.Certificate.NotBefore
		}
		return c, shown, time.Time{}
	}
	end := ca.NotAfter(now)
	c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonReady
	c.Message = fmt.Sprintf("signs with %s until %s", shown.Subject, end.UTC().Format(time.RFC3339))
	return c, shown, end.Add(-minimumLife + time.Second)
}

func (r *MeshIssuerController) report(ctx context.Context, issuer *v1alpha1.MeshIssuer, want metav1.Condition, shown *v1alpha1.CAStatus) error {
	next, changed := condition.Next(issuer.Status.Conditions, want)
	if !changed && equality.Semantic.DeepEqual(issuer.Status.CA, shown) {
		return nil
	}
	status := apply.MeshIssuerStatus().WithConditions(next)
	if shown != nil {
		status.WithCA(apply.CAStatus().WithSubject(shown.Subject).WithSerial(shown.Serial).WithFingerprint(shown.Fingerprint).WithNotAfter(*shown.NotAfter))
	}
	if err := r.Client.Status().Apply(ctx, apply.MeshIssuer(issuer.Name).WithStatus(status), fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("write the status of meshissuer %s: %w", issuer.Name, err)
	}
	if changed {
		kind := corev1.EventTypeNormal
		if want.Status != metav1.ConditionTrue {
			kind = corev1.EventTypeWarning
		}
		r.Recorder.Eventf(issuer, nil, kind, want.Reason, "CheckCA", "%s", want.Message)
	}
	return nil
}

func (r *MeshIssuerController) issuersOfSource(ctx context.Context, ref certs.Reference) []reconcile.Request {
	var issuers v1alpha1.MeshIssuerList
	if err := r.Client.List(ctx, &issuers); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list meshissuers")
		return nil
	}
	var out []reconcile.Request
	for _, i := range issuers.Items {
		if s := i.Spec.CA.SecretRef; ref.Kind == certs.KindSecret && ref.Namespace == s.Namespace && ref.Name == s.Name {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&i)})
		}
	}
	return out
}

func subjectOf(c *x509.Certificate) string {
	name, err := subject.Parse(c.RawSubject)
	if err != nil {
		return c.Subject.String()
	}
	return name.String()
}
