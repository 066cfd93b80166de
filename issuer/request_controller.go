// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"fmt"
	"slices"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	cmapply "github.com/cert-manager/cert-manager/pkg/client/applyconfigurations/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// RequestController is the cert-manager external issuer of the kind MeshIssuer. It approves and signs, or denies, each
// CertificateRequest that names one, in a single write under the version that it decided on: a request is signed once,
// and is never approved without being signed.
type RequestController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server. A denial and a signature rest on what it says.
	Live client.Reader
	// Authority signs and keeps the record.
	Authority *RegistrationAuthority
	// CertManager is the user name of cert-manager's controller, system:serviceaccount:<namespace>:<name>.
	CertManager string
	// Recorder takes an event for each decision.
	Recorder events.EventRecorder
}

// recordedChanged passes updates by which the ledger gives a KafkaUser its principal, or takes it.
var recordedChanged = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	DeleteFunc: func(event.DeleteEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool { return isRecorded(e.ObjectOld) != isRecorded(e.ObjectNew) },
}

// userChanged passes what may change the decision on a KafkaUser's request.
var userChanged = predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, recordedChanged)

func isRecorded(o client.Object) bool {
	user, ok := o.(*v1alpha1.KafkaUser)
	return ok && meta.IsStatusConditionTrue(user.Status.Conditions, v1alpha1.ConditionMappingRecorded)
}

// SetupWithManager registers the controller.
func (r *RequestController) SetupWithManager(mgr ctrl.Manager) error {
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	open := predicate.NewPredicateFuncs(func(o client.Object) bool {
		request, ok := o.(*cmv1.CertificateRequest)
		return ok && isOpen(request)
	})
	return ctrl.NewControllerManagedBy(mgr).Named("certificaterequest-issuer").
		For(&cmv1.CertificateRequest{}, builder.WithPredicates(open)).
		Watches(&cmv1.Certificate{}, handler.EnqueueRequestsFromMapFunc(requestOfCertificate), changed).
		Watches(&v1alpha1.KafkaUser{}, handler.EnqueueRequestsFromMapFunc(r.requestOfUser), builder.WithPredicates(userChanged)).
		Watches(&v1alpha1.MeshIssuer{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfIssuer)).
		Watches(&v1alpha1.KafkaCluster{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfCluster), changed).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

// Reconcile decides one CertificateRequest.
func (r *RequestController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var request cmv1.CertificateRequest
	if err := r.Client.Get(ctx, req.NamespacedName, &request); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !isOpen(&request) {
		return ctrl.Result{}, nil
	}
	facts, err := r.facts(ctx, r.Client, &request)
	if err != nil {
		return ctrl.Result{}, err
	}
	_, refusal := Decide(facts)
	if refusal != nil && refusal.Kind == Wait {
		return ctrl.Result{RequeueAfter: recheck}, client.IgnoreNotFound(r.writePending(ctx, facts, refusal))
	}
	// The cache may be behind: a Certificate that it does not know yet is no reason to deny, and a request that was
	// signed a moment ago is not signed again.
	if err := r.Live.Get(ctx, req.NamespacedName, &request); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !isOpen(&request) {
		return ctrl.Result{}, nil
	}
	if refusal != nil {
		if facts, err = r.facts(ctx, r.Live, &request); err != nil {
			return ctrl.Result{}, err
		}
	}
	result, err := r.decide(ctx, facts)
	return result, client.IgnoreNotFound(err)
}

func (r *RequestController) decide(ctx context.Context, facts Facts) (ctrl.Result, error) {
	grant, refusal := Decide(facts)
	if refusal == nil && hasCondition(facts.Request, cmv1.CertificateRequestConditionDenied) {
		refusal = deny("DeniedByOther", "the condition Denied was set by somebody else")
	}
	var signed *Signed
	if refusal == nil {
		signed, refusal = r.Authority.sign(ctx, facts.Issuer, grant)
	}
	if refusal == nil {
		return ctrl.Result{}, r.writeIssued(ctx, facts, grant, signed)
	}
	switch refusal.Kind {
	case Permanent:
		return ctrl.Result{}, r.writeDenied(ctx, facts, refusal)
	case Retry:
		r.record(facts, Audit{Outcome: Retries, Reason: refusal.Reason, Detail: refusal.Detail})
		return ctrl.Result{}, fmt.Errorf("certificaterequest %s/%s: %w", facts.Request.Namespace, facts.Request.Name, refusal)
	default:
		return ctrl.Result{RequeueAfter: recheck}, r.writePending(ctx, facts, refusal)
	}
}

// facts reads what the request's owner references name. It verifies nothing; Decide does.
func (r *RequestController) facts(ctx context.Context, reader client.Reader, request *cmv1.CertificateRequest) (Facts, error) {
	f := Facts{Request: request, CertManager: r.CertManager}
	var user client.ObjectKey
	if owner := metav1.GetControllerOf(request); owner != nil && owner.Kind == "Certificate" {
		certificate, err := read(ctx, reader, client.ObjectKey{Namespace: request.Namespace, Name: owner.Name}, &cmv1.Certificate{})
		if err != nil {
			return f, err
		}
		f.Certificate = certificate
		if certificate != nil {
			if owner := metav1.GetControllerOf(certificate); owner != nil && owner.Kind == "KafkaUser" {
				user = client.ObjectKey{Namespace: request.Namespace, Name: owner.Name}
			}
		}
	}
	var err error
	if f.UserFacts, err = readUser(ctx, reader, user, request.Spec.IssuerRef.Name); err != nil {
		return f, err
	}
	csr, problem := ParseCSR(request.Spec.Request)
	f.Asked, err = r.Authority.examine(ctx, csr, problem, f.Issuer)
	return f, err
}

func (r *RequestController) writeIssued(ctx context.Context, f Facts, grant *Grant, signed *Signed) error {
	err := r.apply(ctx, f.Request, func(status *cmapply.CertificateRequestStatusApplyConfiguration) {
		if !hasCondition(f.Request, cmv1.CertificateRequestConditionApproved) {
			status.WithConditions(r.condition(f.Request, cmv1.CertificateRequestConditionApproved, cmmeta.ConditionTrue, "KafkaUser", "requested by the Certificate of a KafkaUser"))
		}
		status.WithConditions(r.condition(f.Request, cmv1.CertificateRequestConditionReady, cmmeta.ConditionTrue, cmv1.CertificateRequestReasonIssued, "signed by "+signed.CA.Subject.String()))
		status.Certificate, status.CA = signed.Chain, signed.Roots
	})
	if err != nil {
		return handOver(err, func(a Audit) { r.record(f, a) }, grant, signed)
	}
	r.record(f, Audit{Outcome: Issued, Reason: "KafkaUser", Grant: grant, Signed: signed})
	if r.Authority.events.TryAccept() {
		r.Recorder.Eventf(f.Request, nil, corev1.EventTypeNormal, "Issued", "Sign", "%s", issuedNote(grant, signed))
	}
	return nil
}

// writeDenied follows cert-manager's convention for a denial. A request that somebody else approved cannot also be
// denied, and fails instead.
func (r *RequestController) writeDenied(ctx context.Context, f Facts, refusal *Refusal) error {
	err := r.apply(ctx, f.Request, func(status *cmapply.CertificateRequestStatusApplyConfiguration) {
		reason := cmv1.CertificateRequestReasonDenied
		switch {
		case hasCondition(f.Request, cmv1.CertificateRequestConditionApproved):
			reason = cmv1.CertificateRequestReasonFailed
			status.WithConditions(r.condition(f.Request, cmv1.CertificateRequestConditionInvalidRequest, cmmeta.ConditionTrue, refusal.Reason, refusal.Answer))
		case !hasCondition(f.Request, cmv1.CertificateRequestConditionDenied):
			status.WithConditions(r.condition(f.Request, cmv1.CertificateRequestConditionDenied, cmmeta.ConditionTrue, refusal.Reason, refusal.Answer))
		}
		status.WithConditions(r.condition(f.Request, cmv1.CertificateRequestConditionReady, cmmeta.ConditionFalse, reason, refusal.Reason+": "+refusal.Answer))
		status.WithFailureTime(r.Authority.conditionTime())
	})
	if err != nil {
		return err
	}
	r.record(f, Audit{Outcome: Denied, Reason: refusal.Reason, Detail: refusal.Detail})
	r.Recorder.Eventf(f.Request, nil, corev1.EventTypeWarning, "Denied", "Deny", "%s: %s", refusal.Reason, refusal.Answer)
	return nil
}

func (r *RequestController) writePending(ctx context.Context, f Facts, refusal *Refusal) error {
	message := refusal.Reason + ": " + refusal.Answer
	if c := conditionOf(f.Request, cmv1.CertificateRequestConditionReady); c != nil && c.Message == message {
		return nil
	}
	err := r.apply(ctx, f.Request, func(status *cmapply.CertificateRequestStatusApplyConfiguration) {
		status.WithConditions(r.condition(f.Request, cmv1.CertificateRequestConditionReady, cmmeta.ConditionFalse, cmv1.CertificateRequestReasonPending, message))
	})
	if err != nil {
		return err
	}
	r.record(f, Audit{Outcome: outcomeOf(refusal.Kind), Reason: refusal.Reason, Detail: refusal.Detail})
	r.Recorder.Eventf(f.Request, nil, corev1.EventTypeWarning, "Pending", "Wait", "%s", message)
	return nil
}

func (r *RequestController) record(f Facts, a Audit) {
	a.Requester, a.Issuer = f.Request.Spec.Username, f.Request.Spec.IssuerRef.Name
	a.Object = fmt.Sprintf("CertificateRequest %s/%s", f.Request.Namespace, f.Request.Name)
	r.Authority.record(a, f.Issuer)
}

// apply writes the status under the version that was read. A conflict means that the decision rests on an old state: the
// request is decided anew.
func (r *RequestController) apply(ctx context.Context, request *cmv1.CertificateRequest, fill func(*cmapply.CertificateRequestStatusApplyConfiguration)) error {
	status := cmapply.CertificateRequestStatus()
	fill(status)
	next := cmapply.CertificateRequest(request.Name, request.Namespace).WithUID(request.UID).WithResourceVersion(request.ResourceVersion).WithStatus(status)
	if err := r.Client.Status().Apply(ctx, next, fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("write the status of certificaterequest %s/%s: %w", request.Namespace, request.Name, err)
	}
	return nil
}

// condition returns a condition; one of the same status keeps its transition time.
func (r *RequestController) condition(request *cmv1.CertificateRequest, conditionType cmv1.CertificateRequestConditionType, value cmmeta.ConditionStatus, reason, message string) *cmapply.CertificateRequestConditionApplyConfiguration {
	since := r.Authority.conditionTime()
	if have := conditionOf(request, conditionType); have != nil && have.Status == value && have.LastTransitionTime != nil {
		since = *have.LastTransitionTime
	}
	return cmapply.CertificateRequestCondition().WithType(conditionType).WithStatus(value).WithLastTransitionTime(since).WithReason(reason).WithMessage(message)
}

func isForMeshIssuer(request *cmv1.CertificateRequest) bool {
	return request.Spec.IssuerRef.Group == v1alpha1.GroupVersion.Group && request.Spec.IssuerRef.Kind == "MeshIssuer"
}

// isOpen tells whether the request names a MeshIssuer and was not yet answered.
func isOpen(request *cmv1.CertificateRequest) bool {
	if !isForMeshIssuer(request) || len(request.Status.Certificate) > 0 || request.Status.FailureTime != nil {
		return false
	}
	return !slices.ContainsFunc(request.Status.Conditions, func(c cmv1.CertificateRequestCondition) bool {
		return c.Type == cmv1.CertificateRequestConditionReady && c.Reason != cmv1.CertificateRequestReasonPending
	})
}

func conditionOf(request *cmv1.CertificateRequest, conditionType cmv1.CertificateRequestConditionType) *cmv1.CertificateRequestCondition {
	for i := range request.Status.Conditions {
		if c := &request.Status.Conditions[i]; c.Type == conditionType {
			return c
		}
	}
	return nil
}

func hasCondition(request *cmv1.CertificateRequest, conditionType cmv1.CertificateRequestConditionType) bool {
	c := conditionOf(request, conditionType)
	return c != nil && c.Status == cmmeta.ConditionTrue
}

// requestOfCertificate names the request that cert-manager makes next for a Certificate.
func requestOfCertificate(_ context.Context, object client.Object) []reconcile.Request {
	certificate, ok := object.(*cmv1.Certificate)
	if !ok || certificate.Spec.IssuerRef.Group != v1alpha1.GroupVersion.Group {
		return nil
	}
	revision := 1
	if certificate.Status.Revision != nil {
		revision = *certificate.Status.Revision + 1
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: certificate.Namespace, Name: certs.RequestName(certificate.Name, revision)}}}
}

func (r *RequestController) requestOfUser(ctx context.Context, object client.Object) []reconcile.Request {
	var certificate cmv1.Certificate
	key := client.ObjectKey{Namespace: object.GetNamespace(), Name: v1alpha1.CertificateName(object.GetName())}
	if err := r.Client.Get(ctx, key, &certificate); err != nil {
		return nil
	}
	return requestOfCertificate(ctx, &certificate)
}

func (r *RequestController) requestsOfIssuer(ctx context.Context, object client.Object) []reconcile.Request {
	return r.open(ctx, "", func(request *cmv1.CertificateRequest) bool { return request.Spec.IssuerRef.Name == object.GetName() })
}

func (r *RequestController) requestsOfCluster(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.open(ctx, "", func(*cmv1.CertificateRequest) bool { return true })
}

func (r *RequestController) requestsOfNamespace(ctx context.Context, object client.Object) []reconcile.Request {
	return r.open(ctx, object.GetName(), func(*cmv1.CertificateRequest) bool { return true })
}

func (r *RequestController) open(ctx context.Context, namespace string, wanted func(*cmv1.CertificateRequest) bool) []reconcile.Request {
	var list cmv1.CertificateRequestList
	if err := r.Client.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list certificaterequests")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if request := &list.Items[i]; isOpen(request) && wanted(request) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(request)})
		}
	}
	return out
}
