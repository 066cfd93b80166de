// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/json"

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
	// PathPrincipalMappings is the path of the validating webhook for PrincipalMappings.
	PathPrincipalMappings = "/validate-principalmappings"
)

// The names of the webhooks in metrics.
const (
	webhookPods     = "pods"
	webhookUsers    = "kafkausers"
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
		var meant v1alpha1.KafkaUserList
		if err := h.Reader.List(ctx, &meant, client.InNamespace(req.Namespace), client.MatchingFields{WorkloadIndex: accountOf(pod)}); err != nil {
			h.Decisions.countPod(req.Namespace, resultFailed, ReasonCache)
			return admission.Errored(http.StatusInternalServerError, fmt.Errorf("kafkausers of namespace %s: %w", req.Namespace, err))
		}
		names, warnings, err := Meant(pod, req.Namespace, meant.Items)
		if err != nil {
			return h.refused(ctx, &req, pod, err)
		}
		if declaration.Users = names; len(names) > 0 {
			declaration.Warnings = nil // they say that nothing is done
		}
		declaration.Warnings = append(declaration.Warnings, warnings...)
	}
	users := make(map[string]*v1alpha1.KafkaUser, len(declaration.Users))
	for _, name := range declaration.Users {
		user := &v1alpha1.KafkaUser{}
		err := h.Reader.Get(ctx, client.ObjectKey{Namespace: req.Namespace, Name: name}, user)
		if err == nil {
			users[name] = user
		} else if !apierrors.IsNotFound(err) {
			h.Decisions.countPod(req.Namespace, resultFailed, ReasonCache)
			return admission.Errored(http.StatusInternalServerError, fmt.Errorf("kafkauser %s/%s: %w", req.Namespace, name, err))
		}
	}
	if inline := declaration.Inline; inline != nil {
		var clusters v1alpha1.KafkaClusterList
		if err := h.Reader.List(ctx, &clusters); err != nil {
			h.Decisions.countPod(req.Namespace, resultFailed, ReasonCache)
			return admission.Errored(http.StatusInternalServerError, fmt.Errorf("kafkaclusters: %w", err))
		}
		if err := judgeInline(inline, req.Namespace, clusters.Items, users[inline.User], h.Check); err != nil {
			return h.refused(ctx, &req, pod, err)
		}
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
		h.Decisions.countPod(req.Namespace, resultFailed, "")
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

// judgeInline tells whether the controller will make a KafkaUser of what a pod of the namespace declares. The error is a
// *Refusal.
func judgeInline(inline *declare.Inline, namespace string, clusters []v1alpha1.KafkaCluster, existing *v1alpha1.KafkaUser, check func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster) []error) error {
	cluster, err := declare.ClusterOf(inline, namespace, clusters)
	if err != nil {
		return refuse(ReasonInline, "%s", err)
	}
	if why := declare.Conflict(inline, namespace, cluster, existing); why != "" {
		return refuse(ReasonInline, "%s", why)
	}
	if problems := check(inline.KafkaUser(namespace, cluster), cluster); len(problems) > 0 {
		return refuse(ReasonInline, "the pod's annotations declare access that KafkaCluster %s/%s does not permit: %s", cluster.Namespace, cluster.Name, summary(problems))
	}
	return nil
}

// KafkaUsers is the validating webhook for the creation and update of KafkaUsers. Every other request passes.
type KafkaUsers struct {
	reader    client.Reader
	rules     UserRules
	decisions *Decisions
}

// NewKafkaUsers returns a handler that reads KafkaClusters and PrincipalMappings from the reader, which is an informer cache.
func NewKafkaUsers(reader client.Reader, rules UserRules, decisions *Decisions) *KafkaUsers {
	return &KafkaUsers{reader: reader, rules: rules, decisions: decisions}
}

var _ admission.Handler = &KafkaUsers{}

// Handle answers one request. It fails, for the API server to apply the webhook's failurePolicy, if the KafkaUser
// cannot be decoded or the cache does not answer.
func (h *KafkaUsers) Handle(ctx context.Context, req admission.Request) admission.Response {
	defer h.decisions.took(webhookUsers, time.Now())
	if req.SubResource != "" || req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return h.admit()
	}
	undecodable := func(err error) admission.Response {
		h.decisions.count(webhookUsers, resultFailed, ReasonUndecodable)
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("kafkauser %s/%s: %w", req.Namespace, req.Name, err))
	}
	user := &v1alpha1.KafkaUser{}
	if err := json.UnmarshalCaseSensitivePreserveInts(req.Object.Raw, user); err != nil {
		return undecodable(err)
	}
	user.Namespace = req.Namespace
	var old *v1alpha1.KafkaUser
	if req.Operation == admissionv1.Update {
		old = &v1alpha1.KafkaUser{}
		if err := json.UnmarshalCaseSensitivePreserveInts(req.OldObject.Raw, old); err != nil {
			return undecodable(err)
		}
	}
	reference := user.Spec.ClusterRef.In(req.Namespace)
	cluster := &v1alpha1.KafkaCluster{}
	if err := h.reader.Get(ctx, client.ObjectKey{Namespace: reference.Namespace, Name: reference.Name}, cluster); apierrors.IsNotFound(err) {
		cluster = nil
	} else if err != nil {
		h.decisions.count(webhookUsers, resultFailed, ReasonCache)
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("kafkacluster %s: %w", reference, err))
	}
	var ledger []v1alpha1.PrincipalMapping
	if cluster != nil {
		var err error
		if ledger, err = ledgerOf(ctx, h.reader, cluster); err != nil {
			h.decisions.count(webhookUsers, resultFailed, ReasonCache)
			return admission.Errored(http.StatusInternalServerError, err)
		}
	}
	problems, warnings := JudgeUser(old, user, cluster, ledger, h.rules)
	if len(problems) == 0 {
		return h.admit().WithWarnings(warnings...)
	}
	h.decisions.count(webhookUsers, resultRefused, ReasonInvalidDeclaration)
	logf.FromContext(ctx).Info("KafkaUser refused", "reason", ReasonInvalidDeclaration, "problems", len(problems))
	response := admission.Denied(summary(problems))
	response.Result.Code, response.Result.Reason = http.StatusUnprocessableEntity, metav1.StatusReasonInvalid
	return response.WithWarnings(warnings...)
}

func (h *KafkaUsers) admit() admission.Response {
	h.decisions.count(webhookUsers, resultUnchanged, "")
	return admission.Allowed("")
}

// summary joins the first problems; a KafkaUser may have thousands of entries.
func summary(problems []error) string {
	const most = 10
	var texts []string
	for _, problem := range problems[:min(most, len(problems))] {
		texts = append(texts, problem.Error())
	}
	if more := len(problems) - most; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}
