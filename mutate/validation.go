// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/json"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// kind is a pointer to one of the API's kinds.
type kind[T any] interface {
	*T
	client.Object
}

// validator is the validating webhook for the creation and update of one kind. Every other request passes, and so does
// an update that leaves spec alone, or is of an object that is being deleted: whoever sets a label or removes a finalizer
// did not write the declaration, and the rules may have become stricter since.
type validator[T any, P kind[T]] struct {
	// webhook is its name in metrics and errors.
	webhook string
	spec    func(P) any
	// judge returns what is wrong with an object and what its author should know; old is nil when it is created, who is the
	// requester. The error is that the cache, or the API server, does not answer.
	judge     func(ctx context.Context, who authenticationv1.UserInfo, old, object P) (problems []error, warnings []string, err error)
	decisions *Decisions
}

// Handle answers one request. It fails, for the API server to apply the webhook's failurePolicy, if the object cannot be
// decoded or the cache does not answer.
func (h *validator[T, P]) Handle(ctx context.Context, req admission.Request) admission.Response {
	defer h.decisions.took(h.webhook, time.Now())
	if req.SubResource != "" || req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return h.admit()
	}
	object, err := decode[T, P](req.Object.Raw, req.Namespace)
	var old P
	if err == nil && req.Operation == admissionv1.Update {
		old, err = decode[T, P](req.OldObject.Raw, req.Namespace)
	}
	if err != nil {
		h.decisions.count(h.webhook, resultFailed, ReasonUndecodable)
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("%s %s: %w", h.webhook, path.Join(req.Namespace, req.Name), err))
	}
	if object.GetDeletionTimestamp() != nil || old != nil && equality.Semantic.DeepEqual(h.spec(old), h.spec(object)) {
		return h.admit()
	}
	problems, warnings, err := h.judge(ctx, req.UserInfo, old, object)
	if err != nil {
		h.decisions.count(h.webhook, resultFailed, ReasonCache)
		return admission.Errored(http.StatusInternalServerError, err)
	}
	if len(problems) == 0 {
		return h.admit(warnings...)
	}
	h.decisions.count(h.webhook, resultRefused, ReasonInvalidDeclaration)
	logf.FromContext(ctx).Info("declaration refused", "reason", ReasonInvalidDeclaration, "problems", len(problems))
	response := admission.Denied(summary(problems))
	response.Result.Code, response.Result.Reason = http.StatusUnprocessableEntity, metav1.StatusReasonInvalid
	return response.WithWarnings(warnings...)
}

func (h *validator[T, P]) admit(warnings ...string) admission.Response {
	h.decisions.count(h.webhook, resultUnchanged, "")
	return admission.Allowed("").WithWarnings(warnings...)
}

func decode[T any, P kind[T]](text []byte, namespace string) (P, error) {
	object := P(new(T))
	if err := json.UnmarshalCaseSensitivePreserveInts(text, object); err != nil {
		return nil, err
	}
	object.SetNamespace(namespace)
	return object, nil
}

// summary joins the first problems, and bounds each: a KafkaUser may have thousands of entries, and a field of some may hold
// a megabyte.
func summary(problems []error) string {
	const most, longest = 10, 1500
	var texts []string
	for _, problem := range problems[:min(most, len(problems))] {
		text := problem.Error()
		if len(text) > longest {
			text = strings.ToValidUTF8(text[:longest], "") + "…"
		}
		texts = append(texts, text)
	}
	if more := len(problems) - most; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

// NewKafkaUsers returns the validating webhook for KafkaUsers. Like all of these it reads from an informer cache: here
// KafkaClusters, PrincipalMappings and the NamespaceMetadata.
func NewKafkaUsers(reader client.Reader, rules Rules, authors Authors, decisions *Decisions) admission.Handler {
	return &validator[v1alpha1.KafkaUser, *v1alpha1.KafkaUser]{
		webhook: webhookUsers, decisions: decisions,
		spec: func(u *v1alpha1.KafkaUser) any { return &u.Spec },
		judge: func(ctx context.Context, who authenticationv1.UserInfo, old, user *v1alpha1.KafkaUser) ([]error, []string, error) {
			facts, err := factsOf(ctx, reader, user.Spec.ClusterRef, user.Namespace)
			if err == nil && facts.Cluster != nil {
				facts.Ledger, err = ledgerOf(ctx, reader, facts.Cluster)
			}
			if err != nil {
				return nil, nil, err
			}
			problems, warnings := JudgeUser(old, user, facts, rules)
			if len(problems) == 0 {
				problems, err = missingRights(ctx, authors.Authorize, AuthorOf(who, authors.Controller, user), TopicRights(old, user, facts.Cluster))
			}
			return problems, warnings, err
		},
	}
}

// NewKafkaTopics returns the validating webhook for KafkaTopics. It reads KafkaClusters and the NamespaceMetadata.
func NewKafkaTopics(reader client.Reader, rules Rules, decisions *Decisions) admission.Handler {
	return &validator[v1alpha1.KafkaTopic, *v1alpha1.KafkaTopic]{
		webhook: webhookTopics, decisions: decisions,
		spec: func(t *v1alpha1.KafkaTopic) any { return &t.Spec },
		judge: func(ctx context.Context, _ authenticationv1.UserInfo, old, topic *v1alpha1.KafkaTopic) ([]error, []string, error) {
			facts, err := factsOf(ctx, reader, topic.Spec.ClusterRef, topic.Namespace)
			if err != nil {
				return nil, nil, err
			}
			problems, warnings := JudgeTopic(old, topic, facts, rules)
			return problems, warnings, nil
		},
	}
}

// NewKafkaClusters returns the validating webhook for KafkaClusters. It reads PrincipalMappings.
func NewKafkaClusters(reader client.Reader, decisions *Decisions) admission.Handler {
	return &validator[v1alpha1.KafkaCluster, *v1alpha1.KafkaCluster]{
		webhook: webhookClusters, decisions: decisions,
		spec: func(c *v1alpha1.KafkaCluster) any { return &c.Spec },
		judge: func(ctx context.Context, _ authenticationv1.UserInfo, old, cluster *v1alpha1.KafkaCluster) ([]error, []string, error) {
			ledger, err := ledgerOf(ctx, reader, cluster)
			if err != nil {
				return nil, nil, err
			}
			return JudgeCluster(old, cluster, ledger), nil, nil
		},
	}
}

// NewMeshIssuers returns the validating webhook for MeshIssuers. It reads KafkaClusters.
func NewMeshIssuers(reader client.Reader, rules Rules, decisions *Decisions) admission.Handler {
	return &validator[v1alpha1.MeshIssuer, *v1alpha1.MeshIssuer]{
		webhook: webhookIssuers, decisions: decisions,
		spec: func(i *v1alpha1.MeshIssuer) any { return &i.Spec },
		judge: func(ctx context.Context, _ authenticationv1.UserInfo, old, issuer *v1alpha1.MeshIssuer) ([]error, []string, error) {
			var clusters v1alpha1.KafkaClusterList
			if err := reader.List(ctx, &clusters); err != nil {
				return nil, nil, fmt.Errorf("kafkaclusters: %w", err)
			}
			return JudgeIssuer(old, issuer, clusters.Items, rules), nil, nil
		},
	}
}

// NewPrincipalMappings returns the validating webhook for PrincipalMappings: what an administrator claims that is
// malformed, or somebody else's, is refused with the holder's name. It reads KafkaClusters and PrincipalMappings.
func NewPrincipalMappings(reader client.Reader, rules Rules, decisions *Decisions) admission.Handler {
	return &validator[v1alpha1.PrincipalMapping, *v1alpha1.PrincipalMapping]{
		webhook: webhookMappings, decisions: decisions,
		spec: func(m *v1alpha1.PrincipalMapping) any { return &m.Spec },
		judge: func(ctx context.Context, _ authenticationv1.UserInfo, old, mapping *v1alpha1.PrincipalMapping) ([]error, []string, error) {
			var facts Facts
			var err error
			reference := v1alpha1.ClusterReference{Namespace: mapping.Namespace, Name: mapping.Spec.Cluster}
			if facts.Cluster, err = clusterOf(ctx, reader, reference); err == nil && facts.Cluster != nil {
				facts.Ledger, err = ledgerOf(ctx, reader, facts.Cluster)
			}
			if err != nil {
				return nil, nil, err
			}
			problems, warnings := JudgeMapping(old, mapping, facts, rules)
			return problems, warnings, nil
		},
	}
}

// NamespaceMetadata returns an empty Namespace as the handlers read it: its metadata only.
func NamespaceMetadata() *metav1.PartialObjectMetadata {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return namespace
}

// factsOf reads what a declaration in the namespace for a KafkaCluster is judged by, but for the ledger.
func factsOf(ctx context.Context, reader client.Reader, reference v1alpha1.ClusterReference, namespace string) (Facts, error) {
	var facts Facts
	var err error
	if facts.Cluster, err = clusterOf(ctx, reader, reference.In(namespace)); err != nil || facts.Cluster == nil {
		return facts, err
	}
	facts.Namespace, err = namespaceLabels(ctx, reader, namespace)
	return facts, err
}

// namespaceLabels returns the labels of a namespace, nil where it is not known: the cache may learn of a namespace a moment
// later than of what is in it.
func namespaceLabels(ctx context.Context, reader client.Reader, name string) (map[string]string, error) {
	metadata := NamespaceMetadata()
	if err := reader.Get(ctx, client.ObjectKey{Name: name}, metadata); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	return metadata.Labels, nil
}

// clusterOf returns a KafkaCluster, nil where it does not exist (yet). It is the cache's own and must not be changed.
func clusterOf(ctx context.Context, reader client.Reader, reference v1alpha1.ClusterReference) (*v1alpha1.KafkaCluster, error) {
	cluster := &v1alpha1.KafkaCluster{}
	if err := reader.Get(ctx, client.ObjectKey{Namespace: reference.Namespace, Name: reference.Name}, cluster); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("kafkacluster %s: %w", reference, err)
	}
	return cluster, nil
}

// ledgerOf returns the PrincipalMappings of a cluster. They are the cache's own and must not be changed.
func ledgerOf(ctx context.Context, reader client.Reader, cluster *v1alpha1.KafkaCluster) ([]v1alpha1.PrincipalMapping, error) {
	var list v1alpha1.PrincipalMappingList
	if err := reader.List(ctx, &list, client.InNamespace(cluster.Namespace)); err != nil {
		return nil, fmt.Errorf("list principalmappings of kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	ledger := make([]v1alpha1.PrincipalMapping, 0, len(list.Items))
	for _, m := range list.Items {
		if m.Spec.Cluster == cluster.Name {
			ledger = append(ledger, m)
		}
	}
	return ledger, nil
}
