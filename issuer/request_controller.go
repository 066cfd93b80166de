// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"fmt"
	"slices"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

const (
	fieldOwner = client.FieldOwner("signet-issuer")
	// recheck is when a request that waits is looked at again should the event that ends its wait be missed.
	recheck = 5 * time.Minute
)

// RequestController is the cert-manager external issuer of the kind MeshIssuer. It approves and signs, or denies, each
// CertificateRequest that names one, in a single write under the version that it decided on: a request is signed once,
// and is never approved without being signed.
type RequestController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server. A denial and a signature rest on what it says.
	Live client.Reader
	// Signers holds the CAs.
	Signers *Signers
	// CertManager is the user name of cert-manager's controller, system:serviceaccount:<namespace>:<name>.
	CertManager string
	// Recorder takes an event for each decision.
	Recorder events.EventRecorder
	// Log takes the audit.
	Log logr.Logger
	// Now is the clock.
	Now func() time.Time
}

// recordedChanged passes updates by which the ledger gives a KafkaUser its principal, or takes it.
var recordedChanged = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	DeleteFunc: func(event.DeleteEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool { return isRecorded(e.ObjectOld) != isRecorded(e.ObjectNew) },
}

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
		Watches(&v1alpha1.KafkaUser{}, handler.EnqueueRequestsFromMapFunc(r.requestOfUser), builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, recordedChanged))).
		Watches(&v1alpha1.MeshIssuer{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfIssuer)).
		Watches(&v1alpha1.KafkaCluster{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfCluster), changed).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{})).
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
		return ctrl.Result{RequeueAfter: recheck}, client.IgnoreNotFound(r.writePending(ctx, &request, refusal))
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
	} else {
		facts.Request = &request
	}
	result, err := r.decide(ctx, facts)
	return result, client.IgnoreNotFound(err)
}

func (r *RequestController) decide(ctx context.Context, facts Facts) (ctrl.Result, error) {
	request := facts.Request
	grant, refusal := Decide(facts)
	if refusal == nil && hasCondition(request, cmv1.CertificateRequestConditionDenied) {
		refusal = deny("DeniedByOther", "the condition Denied was set by somebody else")
	}
	var signed *Signed
	if refusal == nil {
		signer, err := r.Signers.SignerFor(ctx, facts.Issuer)
		switch reason := certs.ReasonOf(err); {
		case reason != "":
			refusal = wait(reason, "%s", err)
		case err != nil:
			return ctrl.Result{}, err
		default:
			if signed, refusal, err = signer.Sign(*grant, r.Now()); err != nil {
				return ctrl.Result{}, err
			}
		}
	}
	switch {
	case refusal == nil:
		return ctrl.Result{}, r.writeIssued(ctx, request, grant, signed)
	case refusal.Kind == Permanent:
		return ctrl.Result{}, r.writeDenied(ctx, request, refusal)
	default:
		return ctrl.Result{RequeueAfter: recheck}, r.writePending(ctx, request, refusal)
	}
}

// facts reads what the request's owner references name. It verifies nothing; Decide does.
func (r *RequestController) facts(ctx context.Context, reader client.Reader, request *cmv1.CertificateRequest) (Facts, error) {
	f := Facts{Request: request, CertManager: r.CertManager}
	issuer, err := read(ctx, reader, client.ObjectKey{Name: request.Spec.IssuerRef.Name}, &v1alpha1.MeshIssuer{})
	if err != nil {
		return f, err
	}
	f.Issuer = issuer
	owner := metav1.GetControllerOf(request)
	if owner == nil || owner.Kind != "Certificate" {
		return f, nil
	}
	certificate, err := read(ctx, reader, client.ObjectKey{Namespace: request.Namespace, Name: owner.Name}, &cmv1.Certificate{})
	if err != nil || certificate == nil {
		return f, err
	}
	f.Certificate = certificate
	owner = metav1.GetControllerOf(certificate)
	if owner == nil || owner.Kind != "KafkaUser" {
		return f, nil
	}
	user, err := read(ctx, reader, client.ObjectKey{Namespace: request.Namespace, Name: owner.Name}, &v1alpha1.KafkaUser{})
	if err != nil || user == nil {
		return f, err
	}
	f.User = user
	ref := user.Spec.ClusterRef.In(user.Namespace)
	f.Cluster, err = read(ctx, reader, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &v1alpha1.KafkaCluster{})
	if err != nil || f.Cluster == nil {
		return f, err
	}
	namespace, err := read(ctx, reader, client.ObjectKey{Name: request.Namespace}, &corev1.Namespace{})
	if err != nil || namespace == nil {
		return f, err
	}
	// A malformed selector admits nobody.
	f.Admitted, _ = f.Cluster.Admits(namespace.Labels)
	return f, nil
}

// read returns nil where the object does not exist.
func read[T client.Object](ctx context.Context, reader client.Reader, key client.ObjectKey, into T) (T, error) {
	var none T
	err := reader.Get(ctx, key, into)
	switch {
	case err == nil:
		return into, nil
	case apierrors.IsNotFound(err):
		return none, nil
	}
	return none, fmt.Errorf("read %T %s: %w", into, key, err)
}

func (r *RequestController) writeIssued(ctx context.Context, request *cmv1.CertificateRequest, grant *Grant, signed *Signed) error {
	now := metav1.NewTime(r.Now())
	err := r.patch(ctx, request, func(status *cmv1.CertificateRequestStatus) {
		setCondition(status, now, cmv1.CertificateRequestConditionApproved, cmmeta.ConditionTrue, "KafkaUser", "requested by the Certificate of a KafkaUser")
		setCondition(status, now, cmv1.CertificateRequestConditionReady, cmmeta.ConditionTrue, cmv1.CertificateRequestReasonIssued, "signed by "+signed.CA.Subject.String())
		status.Certificate, status.CA = signed.Chain, signed.Roots
	})
	if err != nil {
		return err // what was signed never leaves the process
	}
	r.audit(request, Audit{Outcome: Issued, Reason: "KafkaUser", Grant: grant, Signed: signed})
	r.Recorder.Eventf(request, nil, corev1.EventTypeNormal, "Issued", "Sign", "signed %s, serial %s, until %s", grant.Identity.Subject, certs.SerialString(signed.Certificate), signed.Certificate.NotAfter.UTC().Format(time.RFC3339))
	return nil
}

// writeDenied follows cert-manager's convention for a denial. A request that somebody else approved cannot also be
// denied, and fails instead.
func (r *RequestController) writeDenied(ctx context.Context, request *cmv1.CertificateRequest, refusal *Refusal) error {
	now := metav1.NewTime(r.Now())
	err := r.patch(ctx, request, func(status *cmv1.CertificateRequestStatus) {
		reason := cmv1.CertificateRequestReasonDenied
		if hasCondition(request, cmv1.CertificateRequestConditionApproved) {
			reason = cmv1.CertificateRequestReasonFailed
			setCondition(status, now, cmv1.CertificateRequestConditionInvalidRequest, cmmeta.ConditionTrue, refusal.Reason, refusal.Answer)
		} else {
			setCondition(status, now, cmv1.CertificateRequestConditionDenied, cmmeta.ConditionTrue, refusal.Reason, refusal.Answer)
		}
		setCondition(status, now, cmv1.CertificateRequestConditionReady, cmmeta.ConditionFalse, reason, refusal.Reason+": "+refusal.Answer)
		status.FailureTime = &now
	})
	if err != nil {
		return err
	}
	r.audit(request, Audit{Outcome: Denied, Reason: refusal.Reason, Detail: refusal.Detail})
	r.Recorder.Eventf(request, nil, corev1.EventTypeWarning, "Denied", "Deny", "%s: %s", refusal.Reason, refusal.Answer)
	return nil
}

func (r *RequestController) writePending(ctx context.Context, request *cmv1.CertificateRequest, refusal *Refusal) error {
	message := refusal.Reason + ": " + refusal.Answer
	for _, c := range request.Status.Conditions {
		if c.Type == cmv1.CertificateRequestConditionReady && c.Message == message {
			return nil
		}
	}
	now := metav1.NewTime(r.Now())
	err := r.patch(ctx, request, func(status *cmv1.CertificateRequestStatus) {
		setCondition(status, now, cmv1.CertificateRequestConditionReady, cmmeta.ConditionFalse, cmv1.CertificateRequestReasonPending, message)
	})
	if err != nil {
		return err
	}
	r.audit(request, Audit{Outcome: Waits, Reason: refusal.Reason, Detail: refusal.Detail})
	r.Recorder.Eventf(request, nil, corev1.EventTypeWarning, "Pending", "Wait", "%s", message)
	return nil
}

func (r *RequestController) audit(request *cmv1.CertificateRequest, a Audit) {
	a.Requester, a.Issuer = request.Spec.Username, request.Spec.IssuerRef.Name
	a.Object = fmt.Sprintf("CertificateRequest %s/%s", request.Namespace, request.Name)
	a.Log(r.Log)
}

// patch writes the status under the version that was read. A conflict means that the decision rests on an old state: the
// request is decided anew.
func (r *RequestController) patch(ctx context.Context, request *cmv1.CertificateRequest, change func(*cmv1.CertificateRequestStatus)) error {
	next := request.DeepCopy()
	change(&next.Status)
	patch := client.MergeFromWithOptions(request.DeepCopy(), client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, next, patch, fieldOwner); err != nil {
		return fmt.Errorf("write the status of certificaterequest %s/%s: %w", request.Namespace, request.Name, err)
	}
	return nil
}

// isOpen tells whether the request names a MeshIssuer and was not yet answered.
func isOpen(request *cmv1.CertificateRequest) bool {
	if request.Spec.IssuerRef.Group != v1alpha1.GroupVersion.Group || request.Spec.IssuerRef.Kind != "MeshIssuer" {
		return false
	}
	if len(request.Status.Certificate) > 0 || request.Status.FailureTime != nil {
		return false
	}
	return !slices.ContainsFunc(request.Status.Conditions, func(c cmv1.CertificateRequestCondition) bool {
		return c.Type == cmv1.CertificateRequestConditionReady && c.Reason != cmv1.CertificateRequestReasonPending
	})
}

func hasCondition(request *cmv1.CertificateRequest, conditionType cmv1.CertificateRequestConditionType) bool {
	return slices.ContainsFunc(request.Status.Conditions, func(c cmv1.CertificateRequestCondition) bool {
		return c.Type == conditionType && c.Status == cmmeta.ConditionTrue
	})
}

// setCondition sets a condition; one of the same status keeps its transition time, and Approved and Denied, which cannot
// change once set, stay as they are.
func setCondition(status *cmv1.CertificateRequestStatus, now metav1.Time, conditionType cmv1.CertificateRequestConditionType, value cmmeta.ConditionStatus, reason, message string) {
	next := cmv1.CertificateRequestCondition{Type: conditionType, Status: value, LastTransitionTime: &now, Reason: reason, Message: message}
	for i, have := range status.Conditions {
		if have.Type != conditionType {
			continue
		}
		if conditionType == cmv1.CertificateRequestConditionApproved || conditionType == cmv1.CertificateRequestConditionDenied {
			return
		}
		if have.Status == value {
			next.LastTransitionTime = have.LastTransitionTime
		}
		status.Conditions[i] = next
		return
	}
	status.Conditions = append(status.Conditions, next)
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
		r.Log.Error(err, "list certificaterequests")
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
