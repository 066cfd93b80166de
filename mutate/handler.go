// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/declare"
)

// The paths that the webhook configurations name.
const (
	// PathPods is the path of the mutating webhook for pods.
	PathPods = "/mutate-pods"
	// PathWorkloadPods is the path of the same in namespaces with the label InjectEnabled, where a KafkaUser's workload opts
	// pods in too.
	PathWorkloadPods = "/mutate-workload-pods"
	// PathKafkaUsers is the path of the validating webhook for KafkaUsers.
	PathKafkaUsers = "/validate-kafkausers"
	// PathKafkaTopics is the path of the validating webhook for KafkaTopics.
	PathKafkaTopics = "/validate-kafkatopics"
	// PathKafkaClusters is the path of the validating webhook for KafkaClusters.
	PathKafkaClusters = "/validate-kafkaclusters"
	// PathMeshIssuers is the path of the validating webhook for MeshIssuers.
	PathMeshIssuers = "/validate-meshissuers"
	// PathPrincipalMappings is the path of the validating webhook for PrincipalMappings.
	PathPrincipalMappings = "/validate-principalmappings"
)

// The names of the webhooks in metrics.
const (
	webhookPods     = "pods"
	webhookUsers    = "kafkausers"
	webhookTopics   = "kafkatopics"
	webhookClusters = "kafkaclusters"
	webhookIssuers  = "meshissuers"
	webhookMappings = "principalmappings"
)

// Tell is called when a pod was refused, with whom the pod belongs to and the one sentence why, for an event: nobody sees
// the answer that a ReplicaSet or a Job got. It must not block.
type Tell func(owner *corev1.ObjectReference, sentence string)

// Pods is the mutating webhook for the creation of pods. Every other request passes untouched.
type Pods struct {
	// Reader reads KafkaUsers and KafkaClusters; it is an informer cache, with WorkloadIndex.
	Reader client.Reader
	// ByWorkload gives a pod whose annotations name no KafkaUser those whose workload means it.
	ByWorkload bool
	// Check returns what the KafkaCluster's policy refuses of a KafkaUser, for pods that declare access themselves.
	Check func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster) []error
	// Decisions counts.
	Decisions *Decisions
	// Tell may be nil.
	Tell Tell
}

var _ admission.Handler = &Pods{}

// Webhook returns what serves the handler over HTTP.
func (h *Pods) Webhook() *admission.Webhook {
	// controller-runtime formats the values of a logger for every request; refused adds them to the lines that are written.
	bare := func(base logr.Logger, _ *admission.Request) logr.Logger { return base }
	return &admission.Webhook{Handler: h, LogConstructor: bare}
}

// Handle answers one request. It fails, for the API server to apply the webhook's failurePolicy, if the pod cannot be
// decoded or the cache does not answer.
func (h *Pods) Handle(ctx context.Context, req admission.Request) admission.Response {
	defer h.Decisions.took(webhookPods, time.Now())
	if req.Operation != admissionv1.Create || req.SubResource != "" {
		return h.admit(req.Namespace, resultUnchanged, "")
	}
	if !h.ByWorkload && !mayDeclare(req.Object.Raw) {
		return h.admit(req.Namespace, resultUnchanged, "")
	}
	pod, err := decodePod(req.Object.Raw)
	if err != nil {
		h.Decisions.countPod(req.Namespace, resultFailed, ReasonUndecodable)
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("pod in namespace %s: %w", req.Namespace, err))
	}
	declaration, err := Declared(pod.Annotations, req.Namespace, accountOf(pod))
	if err != nil {
		return h.refused(ctx, &req, pod, err)
	}
	if h.ByWorkload && !declaration.OptedOut && len(declaration.Users) == 0 {
		if err := h.addMeant(ctx, pod, req.Namespace, &declaration); err != nil {
			return h.refused(ctx, &req, pod, err)
		}
	}
	users, err := h.users(ctx, pod, req.Namespace, &declaration)
	if err != nil {
		return h.refused(ctx, &req, pod, err)
	}
	mutation, err := Mutate(pod, req.Namespace, declaration, users)
	if err != nil {
		return h.refused(ctx, &req, pod, err)
	}
	var reason Reason
	if mutation.Waits {
		reason = ReasonWaits
	}
	result := resultUnchanged
	if len(mutation.Patch) > 0 {
		result = resultMutated
	}
	response := h.admit(req.Namespace, result, reason)
	if result == resultMutated {
		patchType := admissionv1.PatchTypeJSONPatch
		response.Patch, response.PatchType = mutation.Patch, &patchType
	}
	return response.WithWarnings(append(declaration.Warnings, mutation.Warnings...)...)
}

// cacheError is that the cache does not answer.
type cacheError struct{ error }

func (e cacheError) Unwrap() error { return e.error }

// addMeant adds to a declaration that names no KafkaUser those whose workload means the pod. The error is a *Refusal or a
// cacheError.
func (h *Pods) addMeant(ctx context.Context, pod *corev1.Pod, namespace string, declaration *Declaration) error {
	var meant v1alpha1.KafkaUserList
	if err := h.Reader.List(ctx, &meant, client.InNamespace(namespace), client.MatchingFields{WorkloadIndex: accountOf(pod)}); err != nil {
		return cacheError{fmt.Errorf("kafkausers of namespace %s: %w", namespace, err)}
	}
	names, warnings, err := Meant(pod, namespace, meant.Items)
	if err != nil {
		return err
	}
	if declaration.Users = names; len(names) > 0 {
		declaration.Warnings = nil // they say that nothing is done
	}
	declaration.Warnings = append(declaration.Warnings, warnings...)
	return nil
}

// users returns the KafkaUsers of the declaration, and for which of them the pod's sidecar speaks. The error is a *Refusal or
// a cacheError.
func (h *Pods) users(ctx context.Context, pod *corev1.Pod, namespace string, declaration *Declaration) (map[string]User, error) {
	users := make(map[string]User, len(declaration.Users))
	if len(declaration.Users) == 0 {
		return users, nil
	}
	labels, err := namespaceLabels(ctx, h.Reader, namespace)
	if err != nil {
		return nil, cacheError{err}
	}
	mode := meshModeOf(pod, labels)
	for _, name := range declaration.Users {
		user := &v1alpha1.KafkaUser{}
		if err := h.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, user); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, cacheError{fmt.Errorf("kafkauser %s/%s: %w", namespace, name, err)}
		}
		known := User{KafkaUser: user}
		if mode != outside {
			cluster, err := clusterOf(ctx, h.Reader, user.Spec.ClusterRef.In(namespace))
			if err != nil {
				return nil, cacheError{err}
			}
			known.ByMesh, known.Warning = spokenFor(mode, user, cluster, accountOf(pod))
		}
		users[name] = known
	}
	if inline := declaration.Inline; inline != nil {
		var clusters v1alpha1.KafkaClusterList
		if err := h.Reader.List(ctx, &clusters); err != nil {
			return nil, cacheError{fmt.Errorf("kafkaclusters: %w", err)}
		}
		made, cluster, err := judgeInline(inline, namespace, clusters.Items, users[inline.User].KafkaUser, h.Check)
		if err != nil {
			return nil, err
		}
		if users[inline.User].KafkaUser == nil {
			byMesh, warning := spokenFor(mode, made, cluster, accountOf(pod))
			users[inline.User] = User{ByMesh: byMesh, Warning: warning}
			declaration.Warnings = append(declaration.Warnings, Facts{Cluster: cluster, Namespace: labels}.waits("KafkaUser", made.Spec.ClusterRef, namespace)...)
		}
	}
	return users, nil
}

// mayDeclare tells whether the pod with this JSON may have an annotation of Signet's. Where the prefix of their keys is not
// in the text it is in no key, but for one written with an escape that stands for one of its characters. Without a text
// nothing can be said.
func mayDeclare(pod []byte) bool {
	for _, sign := range []string{v1alpha1.AnnotationPrefix, `\u`, `\/`} {
		if bytes.Contains(pod, []byte(sign)) {
			return true
		}
	}
	return len(pod) == 0
}

func (h *Pods) admit(namespace, result string, reason Reason) admission.Response {
	h.Decisions.countPod(namespace, result, reason)
	return admission.Allowed("")
}

func (h *Pods) refused(ctx context.Context, req *admission.Request, pod *corev1.Pod, err error) admission.Response {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		var reason Reason
		if _, ok := errors.AsType[cacheError](err); ok {
			reason = ReasonCache
		}
		h.Decisions.countPod(req.Namespace, resultFailed, reason)
		return admission.Errored(http.StatusInternalServerError, err)
	}
	h.Decisions.countPod(req.Namespace, resultRefused, refusal.Reason)
	log := admission.DefaultLogConstructor(logf.FromContext(ctx), req)
	log.Info("pod refused", "reason", refusal.Reason, "generateName", pod.GenerateName)
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil && h.Tell != nil && (req.DryRun == nil || !*req.DryRun) {
		h.Tell(&corev1.ObjectReference{
			APIVersion: owner.APIVersion, Kind: owner.Kind, Namespace: req.Namespace, Name: owner.Name, UID: owner.UID,
		}, refusal.Message)
	}
	return admission.Denied(refusal.Message)
}

// judgeInline returns the KafkaUser that the controller will make of what a pod of the namespace declares, and its cluster.
// The error is a *Refusal.
func judgeInline(inline *declare.Inline, namespace string, clusters []v1alpha1.KafkaCluster, existing *v1alpha1.KafkaUser, check func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster) []error) (*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster, error) {
	cluster, err := declare.ClusterOf(inline, namespace, clusters)
	if err != nil {
		return nil, nil, refuse(ReasonInline, "%s", err)
	}
	if why := declare.Conflict(inline, namespace, cluster, existing); why != "" {
		return nil, nil, refuse(ReasonInline, "%s", why)
	}
	user := inline.KafkaUser(namespace, cluster)
	if problems := check(user, cluster); len(problems) > 0 {
		return nil, nil, refuse(ReasonInline, "the pod's annotations declare access that KafkaCluster %s/%s does not permit: %s", cluster.Namespace, cluster.Name, summary(problems))
	}
	return user, cluster, nil
}
