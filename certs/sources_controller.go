// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Sources keeps Named watching exactly the Secrets and ConfigMaps that MeshIssuers and KafkaClusters refer to, and holding
// of a Secret no more than is used.
type Sources struct {
	// Client reads MeshIssuers and KafkaClusters from the cache.
	Client client.Reader
	// Named holds the watches.
	Named *Named
	// Authorities is watched from the start.
	Authorities *Authorities
}

// SetupWithManager registers the controller.
func (r *Sources) SetupWithManager(mgr ctrl.Manager) error {
	if err := r.Named.Keep("authorities", []Reference{r.Authorities.Reference()}); err != nil {
		return fmt.Errorf("watch %s: %w", r.Authorities.Reference(), err)
	}
	// There is one task, whatever changed.
	whole := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{}}
	})
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).Named("ca-sources").
		Watches(&v1alpha1.MeshIssuer{}, whole, changed).
		Watches(&v1alpha1.KafkaCluster{}, whole, changed).
		Complete(r)
}

// Reconcile lists who refers to what.
func (r *Sources) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	issuers, clusters, err := listReferrers(ctx, r.Client)
	if err != nil {
		return ctrl.Result{}, err
	}
	withKeys, certificates := References(issuers, clusters)
	if err := r.Named.Keep("ca-sources", withKeys, certificates...); err != nil {
		return ctrl.Result{}, fmt.Errorf("watch CA sources: %w", err)
	}
	return ctrl.Result{}, nil
}

func listReferrers(ctx context.Context, reader client.Reader) ([]v1alpha1.MeshIssuer, []v1alpha1.KafkaCluster, error) {
	var issuers v1alpha1.MeshIssuerList
	if err := reader.List(ctx, &issuers); err != nil {
		return nil, nil, fmt.Errorf("list meshissuers: %w", err)
	}
	var clusters v1alpha1.KafkaClusterList
	if err := reader.List(ctx, &clusters); err != nil {
		return nil, nil, fmt.Errorf("list kafkaclusters: %w", err)
	}
	return issuers.Items, clusters.Items, nil
}

// ClusterRequests returns, for Named.Source, the KafkaClusters that refer to the object that changed.
func ClusterRequests(reader client.Reader) func(context.Context, Reference) []reconcile.Request {
	return func(ctx context.Context, ref Reference) []reconcile.Request {
		_, clusters, err := listReferrers(ctx, reader)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "find the clusters that a CA source concerns", "source", ref.String())
			return nil
		}
		var out []reconcile.Request
		for _, c := range Affected(ref, clusters) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&c)})
		}
		return out
	}
}

// ClustersOfIssuers returns, for Authorities.TrustSource, the KafkaClusters whose MeshIssuer is one of these.
func ClustersOfIssuers(reader client.Reader) func(context.Context, map[string]bool) []reconcile.Request {
	return func(ctx context.Context, issuers map[string]bool) []reconcile.Request {
		_, clusters, err := listReferrers(ctx, reader)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "find the clusters of a MeshIssuer")
			return nil
		}
		var out []reconcile.Request
		for i := range clusters {
			if ref := clusters[i].Spec.Certificates.IssuerRef; ref.IsMeshIssuer() && issuers[ref.Name] {
				out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&clusters[i])})
			}
		}
		return out
	}
}
