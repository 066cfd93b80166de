// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// SigningController approves and signs, or denies, the CertificateSigningRequests by which clients outside the cluster
// get a certificate for a key of their own. Approval and certificate are two writes, each under the version that was
// decided on; after a crash between them the request is decided anew, and an approval counts for nothing.
type SigningController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server. A denial and a signature rest on what it says.
	Live client.Reader
	// Authority signs and keeps the record.
	Authority *RegistrationAuthority
	// Recorder takes an event for each decision.
	Recorder events.EventRecorder

	waiting announced
}

// SetupWithManager registers the controller.
func (r *SigningController) SetupWithManager(mgr ctrl.Manager) error {
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	open := predicate.NewPredicateFuncs(func(o client.Object) bool {
		request, ok := o.(*certificatesv1.CertificateSigningRequest)
		return ok && isOpenSigning(request)
	})
	return ctrl.NewControllerManagedBy(mgr).Named("certificatesigningrequest-signer").
		For(&certificatesv1.CertificateSigningRequest{}, builder.WithPredicates(open)).
		Watches(&v1alpha1.KafkaUser{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfUser), builder.WithPredicates(userChanged)).
		Watches(&v1alpha1.MeshIssuer{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfIssuer)).
		Watches(&v1alpha1.KafkaCluster{}, handler.EnqueueRequestsFromMapFunc(r.all), changed).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.all), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Complete(r)
}

// Reconcile decides one CertificateSigningRequest.
func (r *SigningController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var request certificatesv1.CertificateSigningRequest
	if err := r.Client.Get(ctx, req.NamespacedName, &request); err != nil {
		r.waiting.forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !isOpenSigning(&request) {
		r.waiting.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	facts, err := r.facts(ctx, &request)
	if err != nil {
		return ctrl.Result{}, err
	}
	grant, refusal := DecideSigning(facts)
	var signed *Signed
	if refusal == nil {
		signed, refusal = r.Authority.sign(ctx, facts.Issuer, grant)
	}
	if refusal == nil {
		return ctrl.Result{}, client.IgnoreNotFound(r.writeIssued(ctx, facts, grant, signed))
	}
	if refusal.Kind == Permanent {
		return ctrl.Result{}, client.IgnoreNotFound(r.writeDenied(ctx, facts, refusal))
	}
	return r.waiting.keepOpen(&request, refusal, func(a Audit) { r.record(facts, a) }, r.Recorder)
}

// facts asks the API server itself: these requests are few.
func (r *SigningController) facts(ctx context.Context, request *certificatesv1.CertificateSigningRequest) (SigningFacts, error) {
	f := SigningFacts{Request: request}
	named, err := SigningUser(request)
	if err == nil {
		if f.MaySign, err = r.maySign(ctx, request, named); err != nil {
			return f, err
		}
	}
	if !f.MaySign {
		named = client.ObjectKey{}
	}
	issuer, _ := IssuerOfSigner(request.Spec.SignerName)
	if f.UserFacts, err = readUser(ctx, r.Live, named, issuer); err != nil {
		return f, err
	}
	csr, problem := ParseCSR(request.Spec.Request)
	f.Asked, err = r.Authority.examine(ctx, csr, problem, f.Issuer)
	return f, err
}

// maySign asks the API server whether the requester may VerbSign the KafkaUser.
func (r *SigningController) maySign(ctx context.Context, request *certificatesv1.CertificateSigningRequest, user client.ObjectKey) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: user.Namespace, Name: user.Name, Verb: VerbSign,
			Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: "kafkausers",
		},
		User: request.Spec.Username, UID: request.Spec.UID, Groups: request.Spec.Groups,
		Extra: map[string]authorizationv1.ExtraValue{},
	}}
	for key, values := range request.Spec.Extra {
		review.Spec.Extra[key] = authorizationv1.ExtraValue(values)
	}
	if err := r.Client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask whether the requester of certificatesigningrequest %s may %s kafkauser %s: %w", request.Name, VerbSign, user, err)
	}
	return review.Status.Allowed && !review.Status.Denied, nil
}

// writeIssued approves, where nobody has, and hands over what was signed. The signature comes first and the approval
// second, so that an approved request is not seen waiting for a CA.
func (r *SigningController) writeIssued(ctx context.Context, f SigningFacts, grant *Grant, signed *Signed) error {
	next := f.Request.DeepCopy()
	if signingCondition(next, certificatesv1.CertificateApproved) == nil {
		next.Status.Conditions = append(next.Status.Conditions, r.condition(certificatesv1.CertificateApproved, "KafkaUser", "the requester may sign for the KafkaUser"))
		if err := r.Client.SubResource("approval").Update(ctx, next, fieldOwner); err != nil {
			return fmt.Errorf("approve certificatesigningrequest %s: %w", next.Name, err)
		}
	}
	next.Status.Certificate = signed.Chain
	if err := r.Client.Status().Update(ctx, next, fieldOwner); err != nil {
		return handOver(fmt.Errorf("write the status of certificatesigningrequest %s: %w", next.Name, err), func(a Audit) { r.record(f, a) }, grant, signed)
	}
	r.waiting.forget(client.ObjectKeyFromObject(next))
	r.record(f, Audit{Outcome: Issued, Reason: "KafkaUser", Grant: grant, Signed: signed})
	if r.Authority.events.TryAccept() {
		r.Recorder.Eventf(f.Request, nil, corev1.EventTypeNormal, "Issued", "Sign", "%s", issuedNote(grant, signed))
	}
	return nil
}

// writeDenied denies. A request that somebody else approved cannot also be denied, and fails instead.
func (r *SigningController) writeDenied(ctx context.Context, f SigningFacts, refusal *Refusal) error {
	next := f.Request.DeepCopy()
	conditionType, write := certificatesv1.CertificateDenied, r.Client.SubResource("approval")
	if signingCondition(next, certificatesv1.CertificateApproved) != nil {
		conditionType, write = certificatesv1.CertificateFailed, r.Client.SubResource("status")
	}
	next.Status.Conditions = append(next.Status.Conditions, r.condition(conditionType, refusal.Reason, refusal.Answer))
	if err := write.Update(ctx, next, fieldOwner); err != nil {
		return fmt.Errorf("deny certificatesigningrequest %s: %w", next.Name, err)
	}
	r.waiting.forget(client.ObjectKeyFromObject(next))
	r.record(f, Audit{Outcome: Denied, Reason: refusal.Reason, Detail: refusal.Detail})
	r.Recorder.Eventf(f.Request, nil, corev1.EventTypeWarning, "Denied", "Deny", "%s: %s", refusal.Reason, refusal.Answer)
	return nil
}

func (r *SigningController) condition(conditionType certificatesv1.RequestConditionType, reason, message string) certificatesv1.CertificateSigningRequestCondition {
	now := r.Authority.conditionTime()
	return certificatesv1.CertificateSigningRequestCondition{Type: conditionType, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastUpdateTime: now, LastTransitionTime: now}
}

func (r *SigningController) record(f SigningFacts, a Audit) {
	a.Requester = f.Request.Spec.Username
	a.Issuer, _ = IssuerOfSigner(f.Request.Spec.SignerName)
	a.Object = "CertificateSigningRequest " + f.Request.Name
	r.Authority.record(a, f.Issuer)
}

// isOpenSigning tells whether the request names one of Signet's signers and was not yet answered.
func isOpenSigning(request *certificatesv1.CertificateSigningRequest) bool {
	_, ours := IssuerOfSigner(request.Spec.SignerName)
	return ours && len(request.Status.Certificate) == 0 &&
		signingCondition(request, certificatesv1.CertificateDenied) == nil && signingCondition(request, certificatesv1.CertificateFailed) == nil
}

func signingCondition(request *certificatesv1.CertificateSigningRequest, conditionType certificatesv1.RequestConditionType) *certificatesv1.CertificateSigningRequestCondition {
	i := slices.IndexFunc(request.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool { return c.Type == conditionType })
	if i < 0 {
		return nil
	}
	return &request.Status.Conditions[i]
}

func (r *SigningController) requestsOfUser(ctx context.Context, object client.Object) []reconcile.Request {
	claim := object.GetNamespace() + "/" + object.GetName()
	return r.open(ctx, func(request *certificatesv1.CertificateSigningRequest) bool {
		return request.Annotations[v1alpha1.AnnotationUser] == claim
	})
}

func (r *SigningController) requestsOfIssuer(ctx context.Context, object client.Object) []reconcile.Request {
	signer := v1alpha1.SignerName(object.GetName())
	return r.open(ctx, func(request *certificatesv1.CertificateSigningRequest) bool { return request.Spec.SignerName == signer })
}

func (r *SigningController) all(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.open(ctx, func(*certificatesv1.CertificateSigningRequest) bool { return true })
}

func (r *SigningController) open(ctx context.Context, wanted func(*certificatesv1.CertificateSigningRequest) bool) []reconcile.Request {
	var list certificatesv1.CertificateSigningRequestList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list certificatesigningrequests")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if request := &list.Items[i]; isOpenSigning(request) && wanted(request) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(request)})
		}
	}
	return out
}
