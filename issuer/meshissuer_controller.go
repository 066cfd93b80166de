// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// MeshIssuerController makes and replaces the CA of each MeshIssuer, and keeps its status: who signs, whether it can, and
// how far a rotation has come. certs.PlanRotation decides each step.
type MeshIssuerController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Named tells of changes of the CA Secrets, and reads them.
	Named *certs.Named
	// Authorities keep who signs.
	Authorities *certs.Authorities
	// Signers holds the CAs.
	Signers *Signers
	// Verifiers are those who have to trust a new CA before it signs.
	Verifiers Verifiers
	// Rotation are the durations of a rotation.
	Rotation certs.RotationSettings
	// Recorder takes an event for each change.
	Recorder events.EventRecorder
	// Now is the clock.
	Now func() time.Time
}

// Verifiers are those who verify the certificates that a MeshIssuer signs.
type Verifiers interface {
	// Publish brings the roots to those for whom no other controller does.
	Publish(ctx context.Context, issuer *v1alpha1.MeshIssuer, trusted []*x509.Certificate) error
	// Missing names whoever does not yet trust exactly what is recorded: a bundle, or a broker that does not let a client
	// with a certificate of next in. next is nil where no CA is being distributed.
	Missing(ctx context.Context, issuer *v1alpha1.MeshIssuer, record certs.Record, next *Signer) ([]string, error)
}

// stepRootsPeriod is how often the roots of a step-ca are asked for.
const stepRootsPeriod = 5 * time.Minute

// SetupWithManager registers the controller.
func (r *MeshIssuerController) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("meshissuer").
		For(&v1alpha1.MeshIssuer{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(r.Named.Source(r.issuersOfSource)).
		Complete(r)
}

// Reconcile takes the next steps of one MeshIssuer's rotation, and reports.
func (r *MeshIssuerController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var issuer v1alpha1.MeshIssuer
	if err := r.Client.Get(ctx, req.NamespacedName, &issuer); err != nil {
		if !apierrors.IsNotFound(err) {
			return ctrl.Result{}, err
		}
		r.Signers.Forget(req.Name)
		return ctrl.Result{}, r.Authorities.Forget(ctx, req.Name)
	}
	if !issuer.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	now := r.Now()
	source, sourceProblem := r.source(ctx, &issuer, now)
	if sourceProblem != nil && certs.ReasonOf(sourceProblem) == "" {
		return ctrl.Result{}, sourceProblem
	}
	record, plan, problem := r.rotate(ctx, &issuer, source, now)
	if problem != nil && certs.ReasonOf(problem) != "" && source.CA != nil {
		// A CA of which nothing can be made is none; what there is goes on.
		sourceProblem = problem
		record, plan, problem = r.rotate(ctx, &issuer, certs.NewSource(&issuer, nil), now)
	}
	if problem != nil && certs.ReasonOf(problem) == "" {
		return ctrl.Result{}, problem
	}
	a := Assessment{Issuer: &issuer, Record: record, Plan: plan, SourceProblem: sourceProblem}
	if record.Signing == nil {
		a.Problem = cmp.Or(problem, sourceProblem)
	} else {
		a.SourceProblem = cmp.Or(sourceProblem, problem) // what signs goes on
		signer, err := r.Signers.SignerFor(ctx, &issuer)
		if err == nil {
			err = signer.Usable(now)
		} else if certs.ReasonOf(err) == "" {
			return ctrl.Result{}, err
		}
		a.Problem = err
	}
	want, status, recheckAt := AssessIssuer(a, now)
	if err := r.report(ctx, &issuer, want, status); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if issuer.Spec.CA.StepCA != nil {
		recheckAt = certs.Soonest(recheckAt, now.Add(stepRootsPeriod))
	}
	if errors.Is(sourceProblem, certs.ErrCANotYetValid) || sourceProblem != nil && issuer.Spec.CA.StepCA != nil {
		recheckAt = certs.Soonest(recheckAt, now.Add(time.Minute))
	}
	if recheckAt.IsZero() {
		return ctrl.Result{}, nil
	}
	// At least daily, for a machine that slept or whose clock was set.
	return ctrl.Result{RequeueAfter: min(max(recheckAt.Sub(now), time.Second), 24*time.Hour)}, nil
}

// source reads the CA that the MeshIssuer asks for, in the mode Intermediate without its key; one that is not valid at the
// moment is none. Errors that certs.ReasonOf knows leave what there is in force.
func (r *MeshIssuerController) source(ctx context.Context, issuer *v1alpha1.MeshIssuer, now time.Time) (certs.Source, error) {
	none := certs.NewSource(issuer, nil)
	if certs.Mode(issuer) == v1alpha1.ModeStepCA {
		roots, err := stepRoots(ctx, *issuer.Spec.CA.StepCA)
		if err != nil && certs.ReasonOf(err) == "" {
			err = fmt.Errorf("%w at the moment: %w", certs.ErrCANotFound, err) // which the status should say
		}
		if err != nil {
			return none, fmt.Errorf("meshissuer %s: %w", issuer.Name, err)
		}
		return certs.NewSource(issuer, &certs.CA{Certificate: roots[0], Roots: roots}), nil
	}
	read := certs.ReadCA
	if certs.Mode(issuer) == v1alpha1.ModeIntermediate {
		read = certs.ReadPublicCA
	}
	ca, err := read(ctx, r.Named, issuer)
	if err == nil {
		err = ca.CheckTime(now)
	}
	if err != nil {
		return none, fmt.Errorf("meshissuer %s: %w", issuer.Name, err)
	}
	return certs.NewSource(issuer, ca), nil
}

// makeAuthority makes what the source asks for. This is the one moment in which the key of a mesh CA is read that does not
// itself sign (mode Intermediate), and the first at which it is seen whether it is that of the certificate.
func (r *MeshIssuerController) makeAuthority(ctx context.Context, issuer *v1alpha1.MeshIssuer, source certs.Source, now time.Time) (certs.Authority, error) {
	if source.Mode != v1alpha1.ModeIntermediate {
		return certs.MakeAuthority(issuer, source, now)
	}
	ca, err := certs.ReadCA(ctx, r.Named, issuer)
	if err != nil {
		return certs.Authority{}, fmt.Errorf("meshissuer %s: %w", issuer.Name, err)
	}
	keyed := certs.NewSource(issuer, ca)
	if keyed.ID != source.ID {
		// To adopt it would have the plan, which rests on the watch, replace it by the former one again.
		return certs.Authority{}, fmt.Errorf("meshissuer %s: its CA was replaced just now; the watch is not in step yet", issuer.Name)
	}
	return certs.MakeAuthority(issuer, keyed, now)
}

// maxSteps bounds the steps of one pass; a rotation never takes as many without waiting in between.
const maxSteps = 8

// rotate takes steps until there is none to take. Each is decided on what the API server holds, and is one write.
func (r *MeshIssuerController) rotate(ctx context.Context, issuer *v1alpha1.MeshIssuer, source certs.Source, now time.Time) (certs.Record, certs.RotationPlan, error) {
	var plan certs.RotationPlan
	for range maxSteps {
		record, err := r.Authorities.Change(ctx, issuer.Name, func(record certs.Record) (certs.Record, bool, error) {
			missing, err := r.missing(ctx, issuer, record)
			if err != nil {
				return record, false, err
			}
			plan = certs.PlanRotation(record, source, missing, r.Rotation, now)
			switch plan.Step {
			case certs.StepNone:
				return record, false, nil
			case certs.StepMake:
				made, err := r.makeAuthority(ctx, issuer, source, now)
				if err != nil {
					return record, false, err
				}
				return record.Adopt(made, now), true, nil
			}
			return record.Take(plan.Step, now), true, nil
		})
		if err != nil {
			return record, plan, err
		}
		if plan.Step == certs.StepNone || record.Signing == nil {
			if record.Signing != nil && !waitsForVerifiers(record.Phase) { // else missing just did
				err = r.Verifiers.Publish(ctx, issuer, record.Trusted())
			}
			return record, plan, err
		}
		ctrl.LoggerFrom(ctx).Info("rotation", "step", plan.Step.String(), "phase", record.Phase, "signing", certs.Fingerprint(record.Signing.CA.Certificate.Raw))
		r.Recorder.Eventf(issuer, nil, corev1.EventTypeNormal, string(record.Phase), "Rotate", "%s", describeStep(plan, record))
	}
	return certs.Record{}, plan, fmt.Errorf("meshissuer %s: its rotation does not come to rest", issuer.Name)
}

// waitsForVerifiers tells whether a phase ends by what verifiers trust.
func waitsForVerifiers(phase v1alpha1.RotationPhase) bool {
	return phase == v1alpha1.RotationDistributing || phase == v1alpha1.RotationRetiring
}

// missing asks the verifiers while the phase waits for them.
func (r *MeshIssuerController) missing(ctx context.Context, issuer *v1alpha1.MeshIssuer, record certs.Record) ([]string, error) {
	if !waitsForVerifiers(record.Phase) {
		return nil, nil
	}
	if err := r.Verifiers.Publish(ctx, issuer, record.Trusted()); err != nil {
		return nil, err
	}
	var next *Signer
	if record.Next != nil {
		signer, err := r.Signers.SignerOf(ctx, issuer, record.Next)
		if err != nil {
			if reason := certs.ReasonOf(err); reason == "" {
				return nil, err
			}
			return []string{fmt.Sprintf("the new CA, which cannot sign (%s)", err)}, nil
		}
		next = signer
	}
	return r.Verifiers.Missing(ctx, issuer, record, next)
}

func describeStep(plan certs.RotationPlan, record certs.Record) string {
	name := func(a *certs.Authority) string {
		return fmt.Sprintf("%s (serial %s)", subjectOf(a.CA.Certificate), certs.SerialString(a.CA.Certificate))
	}
	switch plan.Step {
	case certs.StepMake:
		if record.Next != nil {
			return "a new CA is brought to everybody who has to trust it: " + name(record.Next)
		}
		return "signs with " + name(record.Signing)
	case certs.StepForgetNext:
		return "the former CA is back; nothing was signed with the other one"
	case certs.StepSeenTrusted:
		return "everybody trusts the new CA " + name(record.Next)
	case certs.StepSeenUntrusted:
		return "not everybody trusts the new CA any more"
	case certs.StepPromote:
		if plan.Message != "" {
			return "signs with " + name(record.Signing) + "; " + plan.Message
		}
		return "signs with " + name(record.Signing)
	case certs.StepRetire:
		return "the last certificate below a former CA has expired; its root leaves every bundle"
	}
	return "no bundle holds a former root any more"
}

// Assessment is what is known of a MeshIssuer.
type Assessment struct {
	Issuer *v1alpha1.MeshIssuer
	// Record is who signs; its Signing is nil where nobody does.
	Record certs.Record
	// Plan is what the rotation waits for.
	Plan certs.RotationPlan
	// Problem is why it cannot sign at the moment, with a reason of certs.ReasonOf.
	Problem error
	// SourceProblem is why its CA cannot be had at the moment, which need not keep it from signing.
	SourceProblem error
}

// AssessIssuer returns the condition Ready of a MeshIssuer, the rest of its status, and when time alone changes the
// answer (zero: never).
func AssessIssuer(a Assessment, now time.Time) (metav1.Condition, v1alpha1.MeshIssuerStatus, time.Time) {
	issuer := a.Issuer
	c := metav1.Condition{Type: v1alpha1.ConditionReady, ObservedGeneration: issuer.Generation, LastTransitionTime: metav1.NewTime(now)}
	status := v1alpha1.MeshIssuerStatus{SignerName: v1alpha1.SignerName(issuer.Name)}
	recheckAt := a.Plan.Recheck
	var ca *certs.CA
	if a.Record.Signing != nil {
		ca = a.Record.Signing.CA
		status.CA = describeCA(ca.Certificate)
		status.Rotation = describeRotation(a.Record, a.Plan)
	}
	if a.Problem != nil || ca == nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonPending, "its CA is being set up"
		if a.Problem != nil {
			c.Reason, c.Message = certs.ReasonOf(a.Problem), a.Problem.Error()
		}
		if ca != nil && now.Before(ca.Certificate.NotBefore) {
			recheckAt = certs.Soonest(recheckAt, ca.Certificate.NotBefore)
		}
		return c, status, recheckAt
	}
	end := ca.NotAfter(now)
	c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonReady
	c.Message = fmt.Sprintf("signs with %s until %s", status.CA.Subject, end.UTC().Format(time.RFC3339))
	if a.SourceProblem != nil {
		c.Message += "; that CA cannot be renewed at the moment: " + a.SourceProblem.Error()
	}
	return c, status, certs.Soonest(recheckAt, end.Add(-minimumLife+time.Second))
}

func describeCA(c *x509.Certificate) *v1alpha1.CAStatus {
	notAfter := metav1.NewTime(c.NotAfter)
	return &v1alpha1.CAStatus{Subject: subjectOf(c), Serial: certs.SerialString(c), Fingerprint: certs.Fingerprint(c.Raw), NotAfter: &notAfter}
}

func describeRotation(record certs.Record, plan certs.RotationPlan) *v1alpha1.RotationStatus {
	status := &v1alpha1.RotationStatus{Phase: record.Phase, Message: plan.Message}
	for _, root := range record.Trusted() {
		status.Trusted = append(status.Trusted, *describeCA(root))
	}
	if record.Next != nil {
		status.Next = describeCA(record.Next.CA.Certificate)
	}
	for _, a := range record.Retired {
		if status.LeavesUntil == nil || status.LeavesUntil.Time.Before(a.LeavesUntil) {
			until := metav1.NewTime(a.LeavesUntil)
			status.LeavesUntil = &until
		}
	}
	return status
}

func (r *MeshIssuerController) report(ctx context.Context, issuer *v1alpha1.MeshIssuer, want metav1.Condition, shown v1alpha1.MeshIssuerStatus) error {
	next, changed := condition.Next(issuer.Status.Conditions, want)
	before := issuer.Status
	before.Conditions = nil
	if !changed && equality.Semantic.DeepEqual(before, shown) {
		return nil
	}
	status := apply.MeshIssuerStatus().WithConditions(next).WithSignerName(shown.SignerName)
	if shown.CA != nil {
		status.WithCA(applyCA(*shown.CA))
	}
	if rotation := shown.Rotation; rotation != nil {
		r := apply.RotationStatus().WithPhase(rotation.Phase)
		if rotation.Message != "" {
			r.WithMessage(rotation.Message)
		}
		if rotation.Next != nil {
			r.WithNext(applyCA(*rotation.Next))
		}
		for _, root := range rotation.Trusted {
			r.WithTrusted(applyCA(root))
		}
		if rotation.LeavesUntil != nil {
			r.WithLeavesUntil(*rotation.LeavesUntil)
		}
		status.WithRotation(r)
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

func applyCA(c v1alpha1.CAStatus) *apply.CAStatusApplyConfiguration {
	return apply.CAStatus().WithSubject(c.Subject).WithSerial(c.Serial).WithFingerprint(c.Fingerprint).WithNotAfter(*c.NotAfter)
}

// issuersOfSource returns the MeshIssuers that read a Secret, and for the Secret in which Signet keeps who signs all of
// them, with those that it knows and that are gone.
func (r *MeshIssuerController) issuersOfSource(ctx context.Context, ref certs.Reference) []reconcile.Request {
	var issuers v1alpha1.MeshIssuerList
	if err := r.Client.List(ctx, &issuers); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list meshissuers")
		return nil
	}
	wanted := map[string]bool{}
	for i := range issuers.Items {
		if ref == r.Authorities.Reference() || certs.ReadsSecret(&issuers.Items[i], ref) {
			wanted[issuers.Items[i].Name] = true
		}
	}
	if ref == r.Authorities.Reference() {
		names, err := r.Authorities.Names(ctx)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "read who signs")
		}
		for _, name := range names {
			wanted[name] = true
		}
	}
	var out []reconcile.Request
	for name := range wanted {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKey{Name: name}})
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
