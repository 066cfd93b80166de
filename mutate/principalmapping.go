// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"context"
	"fmt"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/json"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// JudgeMapping returns why a mapping that is about to be written cannot come into force, or "": what a condition would
// tell later.
type JudgeMapping func(cluster *v1alpha1.KafkaCluster, ledger []v1alpha1.PrincipalMapping, candidate *v1alpha1.PrincipalMapping) string

// PrincipalMappings is the validating webhook for the creation and update of PrincipalMappings: what an administrator
// claims that is malformed, or somebody else's, is refused with the holder's name. Every other request passes.
type PrincipalMappings struct {
	reader    client.Reader
	judge     JudgeMapping
	decisions *Decisions
}

// NewPrincipalMappings returns a handler that reads KafkaClusters and PrincipalMappings from the reader, which is an
// informer cache.
func NewPrincipalMappings(reader client.Reader, judge JudgeMapping, decisions *Decisions) *PrincipalMappings {
	return &PrincipalMappings{reader: reader, judge: judge, decisions: decisions}
}

var _ admission.Handler = &PrincipalMappings{}

// Handle answers one request. It fails, for the API server to apply the webhook's failurePolicy, if the mapping cannot
// be decoded or the cache does not answer. A mapping of a KafkaCluster that does not exist (yet) is admitted with a
// warning.
func (h *PrincipalMappings) Handle(ctx context.Context, req admission.Request) admission.Response {
	const webhook = webhookMappings
	defer h.decisions.took(webhook, time.Now())
	admit := func() admission.Response {
		h.decisions.count(webhook, resultUnchanged, "")
		return admission.Allowed("")
	}
	if req.SubResource != "" || req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return admit()
	}
	undecodable := func(err error) admission.Response {
		h.decisions.count(webhook, resultFailed, ReasonUndecodable)
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("principalmapping %s/%s: %w", req.Namespace, req.Name, err))
	}
	candidate := &v1alpha1.PrincipalMapping{}
	if err := json.UnmarshalCaseSensitivePreserveInts(req.Object.Raw, candidate); err != nil {
		return undecodable(err)
	}
	candidate.Namespace = req.Namespace
	if !candidate.DeletionTimestamp.IsZero() {
		return admit()
	}
	if req.Operation == admissionv1.Update {
		old := &v1alpha1.PrincipalMapping{}
		if err := json.UnmarshalCaseSensitivePreserveInts(req.OldObject.Raw, old); err != nil {
			return undecodable(err)
		}
		if equality.Semantic.DeepEqual(old.Spec, candidate.Spec) {
			return admit() // who sets a label claims nothing
		}
	}
	cluster := &v1alpha1.KafkaCluster{}
	if err := h.reader.Get(ctx, client.ObjectKey{Namespace: req.Namespace, Name: candidate.Spec.Cluster}, cluster); apierrors.IsNotFound(err) {
		return admit().WithWarnings(fmt.Sprintf("KafkaCluster %s/%s does not exist yet; the PrincipalMapping waits until it does", req.Namespace, candidate.Spec.Cluster))
	} else if err != nil {
		h.decisions.count(webhook, resultFailed, ReasonCache)
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("kafkacluster %s/%s: %w", req.Namespace, candidate.Spec.Cluster, err))
	}
	ledger, err := ledgerOf(ctx, h.reader, cluster)
	if err != nil {
		h.decisions.count(webhook, resultFailed, ReasonCache)
		return admission.Errored(http.StatusInternalServerError, err)
	}
	if why := h.judge(cluster, ledger, candidate); why != "" {
		h.decisions.count(webhook, resultRefused, ReasonInvalidDeclaration)
		logf.FromContext(ctx).Info("PrincipalMapping refused", "reason", ReasonInvalidDeclaration, "name", candidate.Name)
		response := admission.Denied(why)
		response.Result.Code, response.Result.Reason = http.StatusUnprocessableEntity, metav1.StatusReasonInvalid
		return response
	}
	return admit()
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
