// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"fmt"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Served tells whether the API server serves PodCertificateRequests (certificates.k8s.io/v1, on by default from
// Kubernetes 1.37 on). discovery is a discovery.DiscoveryInterface. An error is worth a retry.
func Served(discovery interface {
	ServerResourcesForGroupVersion(groupVersion string) (*metav1.APIResourceList, error)
}) (bool, error) {
	list, err := discovery.ServerResourcesForGroupVersion(certificatesv1.SchemeGroupVersion.String())
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("ask the API server whether it serves podcertificaterequests: %w", err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == "podcertificaterequests" }), nil
}

// PodController is the signer of the kubelet's PodCertificateRequests. An answer is the one write for a request, under
// the version that was decided on; what waits has no place in the API to say so, and gets an event.
type PodController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server. A denial rests on what it says, since the kubelet does not ask again.
	Live client.Reader
	// Authority signs and keeps the record.
	Authority *RegistrationAuthority
	// Recorder takes an event for each denial and wait, and for issued certificates as far as their number allows.
	Recorder events.EventRecorder

	waiting announced
}

// podUserIndex finds the open PodCertificateRequests of a KafkaUser in the cache.
const podUserIndex = "signet.openPodCertificateRequestOfKafkaUser"

func indexPodUser(o client.Object) []string {
	request, ok := o.(*certificatesv1.PodCertificateRequest)
	if !ok || !isOpenPod(request) {
		return nil
	}
	if name, err := PodUser(request); err == nil {
		return []string{name}
	}
	return nil
}

// SetupWithManager registers the controller; only where the API is Served.
func (r *PodController) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &certificatesv1.PodCertificateRequest{}, podUserIndex, indexPodUser); err != nil {
		return fmt.Errorf("index podcertificaterequests: %w", err)
	}
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	open := predicate.NewPredicateFuncs(func(o client.Object) bool {
		request, ok := o.(*certificatesv1.PodCertificateRequest)
		return ok && isOpenPod(request)
	})
	return ctrl.NewControllerManagedBy(mgr).Named("podcertificaterequest-signer").
		For(&certificatesv1.PodCertificateRequest{}, builder.WithPredicates(open)).
		Watches(&v1alpha1.KafkaUser{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfUser), builder.WithPredicates(userChanged)).
		Watches(&v1alpha1.MeshIssuer{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfIssuer)).
		Watches(&v1alpha1.KafkaCluster{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfCluster), changed).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.requestsOfNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: podWorkers}).
		Complete(r)
}

// Reconcile decides one PodCertificateRequest.
func (r *PodController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var request certificatesv1.PodCertificateRequest
	if err := r.Client.Get(ctx, req.NamespacedName, &request); err != nil {
		r.waiting.forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !isOpenPod(&request) {
		r.waiting.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	facts, err := r.facts(ctx, r.Client, &request)
	if err != nil {
		return ctrl.Result{}, err
	}
	grant, refusal := DecidePod(facts)
	if refusal != nil && refusal.Kind == Permanent {
		// The cache may be behind.
		if facts, err = r.facts(ctx, r.Live, &request); err != nil {
			return ctrl.Result{}, err
		}
		grant, refusal = DecidePod(facts)
	}
	var signed *Signed
	if refusal == nil {
		signed, refusal = r.Authority.sign(ctx, facts.Issuer, grant)
	}
	if refusal == nil {
		refusal = podFits(&request, signed)
	}
	if refusal == nil {
		return ctrl.Result{}, client.IgnoreNotFound(r.writeIssued(ctx, facts, grant, signed))
	}
	if refusal.Kind == Permanent {
		return ctrl.Result{}, client.IgnoreNotFound(r.writeDenied(ctx, facts, refusal))
	}
	return r.waiting.keepOpen(&request, refusal, func(a Audit) { r.record(facts, a) }, r.Recorder)
}

// podFits tells whether the API server will take what a CA signed. Signet's own does what the grant says; another one
// may have limits of its own.
func podFits(request *certificatesv1.PodCertificateRequest, signed *Signed) *Refusal {
	valid, limit := signed.Certificate.NotAfter.Sub(signed.Certificate.NotBefore), defaultMaxExpiration
	if seconds := request.Spec.MaxExpirationSeconds; seconds != nil {
		limit = time.Duration(*seconds) * time.Second
	}
	if valid < minPodValidity || valid > limit {
		return wait(v1alpha1.ReasonIssuerNotReady, "the CA signs for %s, and the API server wants %s to %s", valid, minPodValidity, limit)
	}
	return nil
}

func (r *PodController) facts(ctx context.Context, reader client.Reader, request *certificatesv1.PodCertificateRequest) (PodFacts, error) {
	f := PodFacts{Request: request}
	var user client.ObjectKey
	if name, err := PodUser(request); err == nil {
		user = client.ObjectKey{Namespace: request.Namespace, Name: name}
	}
	issuer, _ := IssuerOfSigner(request.Spec.SignerName)
	var err error
	if f.UserFacts, err = readUser(ctx, reader, user, issuer); err != nil {
		return f, err
	}
	// That the kubelet holds the key was verified by the API server when it admitted the request (KEP-4317), as were the pod,
	// the node and the service account in it.
	csr, problem := parseDER(request.Spec.StubPKCS10Request)
	f.Asked, err = r.Authority.examine(ctx, csr, problem, f.Issuer)
	return f, err
}

func (r *PodController) writeIssued(ctx context.Context, f PodFacts, grant *Grant, signed *Signed) error {
	leaf, now := signed.Certificate, r.Authority.now()
	refreshAt := metav1.NewTime(RefreshAt(f.Request.UID, now, leaf.NotBefore, leaf.NotAfter))
	err := r.write(ctx, f.Request, certificatesv1.PodCertificateRequestStatus{
		Conditions:       []metav1.Condition{r.condition(certificatesv1.PodCertificateRequestConditionTypeIssued, "KafkaUser", issuedNote(grant, signed))},
		CertificateChain: string(signed.Chain),
		NotBefore:        &metav1.Time{Time: leaf.NotBefore},
		BeginRefreshAt:   &refreshAt,
		NotAfter:         &metav1.Time{Time: leaf.NotAfter},
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

func (r *PodController) writeDenied(ctx context.Context, f PodFacts, refusal *Refusal) error {
	err := r.write(ctx, f.Request, certificatesv1.PodCertificateRequestStatus{
		Conditions: []metav1.Condition{r.condition(certificatesv1.PodCertificateRequestConditionTypeDenied, refusal.Reason, refusal.Answer)},
	})
	if err != nil {
		return err
	}
	r.record(f, Audit{Outcome: Denied, Reason: refusal.Reason, Detail: refusal.Detail})
	r.Recorder.Eventf(f.Request, nil, corev1.EventTypeWarning, "Denied", "Deny", "%s: %s", refusal.Reason, refusal.Answer)
	return nil
}

func (r *PodController) condition(conditionType, reason, message string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: metav1.ConditionTrue, LastTransitionTime: r.Authority.conditionTime(), Reason: reason, Message: message}
}

// write is an update under the version that was read: of two answers to one request the first stands.
func (r *PodController) write(ctx context.Context, request *certificatesv1.PodCertificateRequest, status certificatesv1.PodCertificateRequestStatus) error {
	next := request.DeepCopy()
	next.Status = status
	if err := r.Client.Status().Update(ctx, next, fieldOwner); err != nil {
		return fmt.Errorf("write the status of podcertificaterequest %s/%s: %w", request.Namespace, request.Name, err)
	}
	r.waiting.forget(client.ObjectKeyFromObject(request))
	return nil
}

func (r *PodController) record(f PodFacts, a Audit) {
	spec := &f.Request.Spec
	a.Requester, a.Pod = "system:node:"+string(spec.NodeName), spec.PodName+" of system:serviceaccount:"+f.Request.Namespace+":"+spec.ServiceAccountName
	a.Issuer, _ = IssuerOfSigner(spec.SignerName)
	a.Object = "PodCertificateRequest " + f.Request.Namespace + "/" + f.Request.Name
	r.Authority.record(a, f.Issuer)
}

// isOpenPod tells whether the request names one of Signet's signers and was not yet answered.
func isOpenPod(request *certificatesv1.PodCertificateRequest) bool {
	if _, ours := IssuerOfSigner(request.Spec.SignerName); !ours {
		return false
	}
	// All three conditions of the API are final, and it knows no others.
	return len(request.Status.Conditions) == 0
}

func (r *PodController) requestsOfUser(ctx context.Context, object client.Object) []reconcile.Request {
	return r.open(ctx, func(*certificatesv1.PodCertificateRequest) bool { return true },
		client.InNamespace(object.GetNamespace()), client.MatchingFields{podUserIndex: object.GetName()})
}

func (r *PodController) requestsOfIssuer(ctx context.Context, object client.Object) []reconcile.Request {
	signer := v1alpha1.SignerName(object.GetName())
	return r.open(ctx, func(request *certificatesv1.PodCertificateRequest) bool { return request.Spec.SignerName == signer })
}

func (r *PodController) requestsOfCluster(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.open(ctx, func(*certificatesv1.PodCertificateRequest) bool { return true })
}

func (r *PodController) requestsOfNamespace(ctx context.Context, object client.Object) []reconcile.Request {
	return r.open(ctx, func(*certificatesv1.PodCertificateRequest) bool { return true }, client.InNamespace(object.GetName()))
}

func (r *PodController) open(ctx context.Context, wanted func(*certificatesv1.PodCertificateRequest) bool, options ...client.ListOption) []reconcile.Request {
	var list certificatesv1.PodCertificateRequestList
	if err := r.Client.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list podcertificaterequests")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if request := &list.Items[i]; isOpenPod(request) && wanted(request) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(request)})
		}
	}
	return out
}
