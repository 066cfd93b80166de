// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// pageSize bounds one answer of the API server to a list of pods.
const pageSize = 500

func newStatusCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var everywhere bool
	var output, signetNamespace string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is ready, what is not, and why",
		Long: `Shows Signet's own Deployments, the MeshIssuers, the KafkaClusters, and the KafkaUsers and KafkaTopics of one
namespace (or of all, with -A): whether they are ready, how long their certificates last, and the reason of
everything that is not ready. Of a MeshIssuer it shows how far a change of CA has come, of a KafkaUser how the next
pod gets its key and certificate, and whether it is suspended. Reads only; what you may not read is left out and named.

Exit code: 0 when everything shown is ready, 1 when something is not, 2 when it could not be found out.`,
		Example: "  kubectl signet status -A\n  kubectl signet status -n shop -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("-o %s: the only other format is json", output)
			}
			c, namespace, err := connect(config)
			if err != nil {
				return err
			}
			if everywhere {
				namespace = ""
			}
			now := time.Now()
			seen, err := look(cmd.Context(), c, namespace, signetNamespace, now)
			if err != nil {
				return explain(err)
			}
			report := Summarize(seen)
			if output == "json" {
				err = WriteJSON(streams.Out, report)
			} else {
				err = WriteTables(streams.Out, report, now)
			}
			if err != nil {
				return err
			}
			if !report.Ready {
				return errNotReady
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "show all namespaces")
	cmd.Flags().StringVarP(&output, "output", "o", "", "output format: json; default: tables")
	cmd.Flags().StringVar(&signetNamespace, "signet-namespace", "signet-system", "namespace that Signet is installed in")
	return cmd
}

// look reads what a namespace, or "" for all of them, has to do with Signet. What the caller may not read becomes a
// note; only the KafkaUsers are indispensable.
func look(ctx context.Context, c client.Reader, namespace, signetNamespace string, now time.Time) (Cluster, error) {
	seen := Cluster{Now: now}
	var users v1alpha1.KafkaUserList
	if err := c.List(ctx, &users, client.InNamespace(namespace)); err != nil {
		return Cluster{}, fmt.Errorf("list kafkausers: %w", err)
	}
	seen.Users = users.Items

	var topics v1alpha1.KafkaTopicList
	if ok, err := seen.try(c.List(ctx, &topics, client.InNamespace(namespace)), "KafkaTopics"); err != nil {
		return Cluster{}, err
	} else if ok {
		seen.Topics = topics.Items
	}
	if err := seen.lookAtClusters(ctx, c, namespace); err != nil {
		return Cluster{}, err
	}
	if err := seen.lookAtIssuers(ctx, c, namespace); err != nil {
		return Cluster{}, err
	}
	if err := seen.lookAtPods(ctx, c, namespace); err != nil {
		return Cluster{}, err
	}
	var deployments appsv1.DeploymentList
	ok, err := seen.try(c.List(ctx, &deployments, client.InNamespace(signetNamespace), client.MatchingLabels{"app.kubernetes.io/part-of": "signet"}), "Deployments of namespace "+signetNamespace)
	if err != nil {
		return Cluster{}, err
	}
	if ok {
		seen.SignetNamespace, seen.Deployments = signetNamespace, deployments.Items
	}
	return seen, nil
}

// try tells whether a read succeeded. A missing permission is noted, any other error returned.
func (seen *Cluster) try(err error, what string) (bool, error) {
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsForbidden(err):
		seen.Notes = append(seen.Notes, "you may not read "+what)
		return false, nil
	default:
		return false, fmt.Errorf("read %s: %w", what, err)
	}
}

// lookAtClusters reads the KafkaClusters of the namespace and those that its KafkaUsers and KafkaTopics refer to.
func (seen *Cluster) lookAtClusters(ctx context.Context, c client.Reader, namespace string) error {
	known := map[string]bool{}
	var list v1alpha1.KafkaClusterList
	ok, err := seen.try(c.List(ctx, &list, client.InNamespace(namespace)), "KafkaClusters")
	if err != nil {
		return err
	}
	if ok {
		seen.Clusters = list.Items
		for _, cluster := range list.Items {
			known[cluster.Namespace+"/"+cluster.Name] = true
		}
	}
	var references []v1alpha1.ClusterReference
	for _, u := range seen.Users {
		references = append(references, u.Spec.ClusterRef.In(u.Namespace))
	}
	for _, t := range seen.Topics {
		references = append(references, t.Spec.ClusterRef.In(t.Namespace))
	}
	for _, ref := range references {
		if known[ref.String()] || namespace == "" {
			continue
		}
		known[ref.String()] = true
		var cluster v1alpha1.KafkaCluster
		err := c.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &cluster)
		if apierrors.IsNotFound(err) {
			continue // the KafkaUser's own condition says so
		}
		if ok, err := seen.try(err, "KafkaCluster "+ref.String()); err != nil {
			return err
		} else if ok {
			seen.Clusters = append(seen.Clusters, cluster)
		}
	}
	return nil
}

// lookAtIssuers reads the MeshIssuers: of all namespaces every one, of one namespace those of the KafkaClusters and
// KafkaUsers seen.
func (seen *Cluster) lookAtIssuers(ctx context.Context, c client.Reader, namespace string) error {
	var list v1alpha1.MeshIssuerList
	ok, err := seen.try(c.List(ctx, &list), "MeshIssuers")
	if err != nil || !ok {
		return err
	}
	used := map[string]bool{}
	for _, cluster := range seen.Clusters {
		ref := cluster.Spec.Certificates.IssuerRef
		used[ref.Name] = used[ref.Name] || ref.IsMeshIssuer()
	}
	for _, user := range seen.Users {
		if settings := user.Spec.Certificate; settings != nil && settings.IssuerRef != nil {
			used[settings.IssuerRef.Name] = used[settings.IssuerRef.Name] || settings.IssuerRef.IsMeshIssuer()
		}
	}
	for _, issuer := range list.Items {
		if namespace == "" || used[issuer.Name] {
			seen.Issuers = append(seen.Issuers, issuer)
		}
	}
	return nil
}

func (seen *Cluster) lookAtPods(ctx context.Context, c client.Reader, namespace string) error {
	seen.Pods = []corev1.Pod{}
	for token := ""; ; {
		var page corev1.PodList
		ok, err := seen.try(c.List(ctx, &page, client.InNamespace(namespace), client.Limit(pageSize), client.Continue(token)), "Pods")
		if err != nil {
			return err
		}
		if !ok {
			seen.Pods = nil
			return nil
		}
		for _, pod := range page.Items {
			if pod.Annotations[v1alpha1.AnnotationUser] != "" {
				seen.Pods = append(seen.Pods, pod)
			}
		}
		if token = page.Continue; token == "" {
			return nil
		}
	}
}
