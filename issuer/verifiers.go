// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	accertificates "k8s.io/client-go/applyconfigurations/certificates/v1"
	acmeta "k8s.io/client-go/applyconfigurations/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// Brokers are the brokers of KafkaClusters, as verifiers of client certificates.
type Brokers interface {
	// Accepts errs unless every broker of the cluster lets a client in that connects with the configuration.
	Accepts(ctx context.Context, cluster *v1alpha1.KafkaCluster, config *tls.Config) error
	// ReloadTrust makes every broker read its trust stores again.
	ReloadTrust(ctx context.Context, cluster *v1alpha1.KafkaCluster, version string) error
}

// ClusterVerifiers are those of a Kubernetes cluster: the ConfigMaps of brokers and of KafkaUsers, the ClusterTrustBundle,
// and the brokers themselves. It implements Verifiers.
type ClusterVerifiers struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads ClusterTrustBundles, of which a cache would need a watch that an API server before 1.37 has not.
	Live client.Reader
	// Authorities say whom each of them has to trust.
	Authorities *certs.Authorities
	// Own is Signet's own identity, with which brokers are asked.
	Own *OwnCertificates
	// Brokers asks them.
	Brokers Brokers
}

// Publish keeps the ClusterTrustBundle of the MeshIssuer (KEP-3257), where the API server has that kind.
func (v *ClusterVerifiers) Publish(ctx context.Context, issuer *v1alpha1.MeshIssuer, trusted []*x509.Certificate) error {
	text := string(certs.EncodeCertificates(trusted))
	name := v1alpha1.TrustBundleObject(issuer.Name)
	var have certificatesv1.ClusterTrustBundle
	switch err := v.Live.Get(ctx, client.ObjectKey{Name: name}, &have); {
	case meta.IsNoMatchError(err):
		return nil
	case err == nil && have.Spec.TrustBundle == text:
		return nil
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("read clustertrustbundle %s: %w", name, err)
	}
	owner := acmeta.OwnerReference().WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("MeshIssuer").WithName(issuer.Name).WithUID(issuer.UID)
	bundle := accertificates.ClusterTrustBundle(name).
		WithLabels(map[string]string{certs.LabelManagedBy: certs.ManagedBy}).WithOwnerReferences(owner).
		WithSpec(accertificates.ClusterTrustBundleSpec().WithSignerName(v1alpha1.SignerName(issuer.Name)).WithTrustBundle(text))
	err := v.Client.Apply(ctx, bundle, fieldOwner, client.ForceOwnership)
	// An API server that knows the version but not this kind answers with 404.
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write clustertrustbundle %s: %w", name, err)
	}
	return nil
}

// Missing compares every bundle with what is recorded and, while a CA is being distributed, asks every broker with a
// certificate of that CA. A broker that refuses is told to read its trust stores again.
func (v *ClusterVerifiers) Missing(ctx context.Context, issuer *v1alpha1.MeshIssuer, record certs.Record, next *Signer) ([]string, error) {
	var clusters v1alpha1.KafkaClusterList
	if err := v.Client.List(ctx, &clusters); err != nil {
		return nil, fmt.Errorf("list kafkaclusters: %w", err)
	}
	version := certs.Fingerprint(certs.EncodeCertificates(record.Trusted()))[:16]
	var missing []string
	for i := range clusters.Items {
		cluster := &clusters.Items[i]
		if ref := cluster.Spec.Certificates.IssuerRef; !ref.IsMeshIssuer() || ref.Name != issuer.Name {
			continue
		}
		behind, err := v.bundlesBehind(ctx, cluster, record.Trusted())
		if err != nil {
			return nil, err
		}
		missing = append(missing, behind...)
		if len(behind) > 0 {
			continue // the brokers cannot know yet
		}
		if problem := v.ask(ctx, cluster, next, version); problem != nil {
			missing = append(missing, fmt.Sprintf("kafkacluster %s/%s (%s)", cluster.Namespace, cluster.Name, problem))
		}
	}
	return missing, nil
}

// ask tells whether the brokers of a cluster let a client of the next CA in.
func (v *ClusterVerifiers) ask(ctx context.Context, cluster *v1alpha1.KafkaCluster, next *Signer, version string) error {
	log := ctrl.LoggerFrom(ctx)
	if next == nil {
		// That a former root is no longer trusted cannot be tried: its key is gone. Brokers are told, and a restart
		// does the same.
		if err := v.Brokers.ReloadTrust(ctx, cluster, version); err != nil {
			log.Info("brokers were not told to read their trust stores again", "kafkacluster", client.ObjectKeyFromObject(cluster).String(), "error", err.Error())
		}
		return nil
	}
	config, err := v.Own.TrialConfig(ctx, cluster, next)
	if err != nil {
		return err
	}
	refused := v.Brokers.Accepts(ctx, cluster, config)
	if refused == nil {
		return nil
	}
	if err := v.Brokers.ReloadTrust(ctx, cluster, version); err != nil {
		return errors.Join(refused, err)
	}
	return v.Brokers.Accepts(ctx, cluster, config)
}

// bundlesBehind names the ConfigMaps of the cluster's brokers and clients that do not hold what they have to, which
// follows from what was just decided: the watch by which others learn of it may be behind.
func (v *ClusterVerifiers) bundlesBehind(ctx context.Context, cluster *v1alpha1.KafkaCluster, roots []*x509.Certificate) ([]string, error) {
	trust, err := v.Authorities.ClientTrustWith(ctx, cluster, roots)
	if err != nil {
		return behindBy(fmt.Sprintf("kafkacluster %s/%s", cluster.Namespace, cluster.Name), err)
	}
	var behind []string
	check := func(namespace, name string, want []byte, keys ...string) error {
		var have corev1.ConfigMap
		err := v.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &have)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read configmap %s/%s: %w", namespace, name, err)
		}
		if err != nil || slices.ContainsFunc(keys, func(key string) bool { return have.Data[key] != string(want) }) {
			behind = append(behind, fmt.Sprintf("configmap %s/%s", namespace, name))
		}
		return nil
	}
	if err := check(cluster.Namespace, v1alpha1.BrokerConfigName(cluster.Name), trust, v1alpha1.KeyClientCA); err != nil {
		return nil, err
	}
	listeners, err := certs.ClientListeners(cluster)
	if errors.Is(err, certs.ErrNoListener) {
		return behind, nil // nobody has files for it
	}
	if err != nil {
		return nil, fmt.Errorf("kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	var files []string
	for _, l := range listeners {
		// Whom clients trust at a listener with a serverCA does not depend on who signs.
		if l.ServerCA == nil {
			files = append(files, v1alpha1.FileForScope(v1alpha1.FileCA, l.FileScope))
		}
	}
	if len(files) == 0 {
		return behind, nil
	}
	trust = certs.EncodeCertificates(roots)
	var users v1alpha1.KafkaUserList
	if err := v.Client.List(ctx, &users, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list kafkausers: %w", err)
	}
	ref := v1alpha1.ClusterReference{Namespace: cluster.Namespace, Name: cluster.Name}
	for i := range users.Items {
		user := &users.Items[i]
		// One that never got a bundle has nobody who reads it.
		if user.Spec.ClusterRef.In(user.Namespace) != ref || !user.DeletionTimestamp.IsZero() || !hasBundle(user) {
			continue
		}
		if err := check(user.Namespace, v1alpha1.TrustBundleName(user.Name), trust, files...); err != nil {
			return nil, err
		}
	}
	return behind, nil
}

func hasBundle(user *v1alpha1.KafkaUser) bool {
	ready := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionCertificateReady)
	return ready != nil && (ready.Status == "True" || ready.Reason == v1alpha1.ReasonSuspended)
}

func behindBy(what string, err error) ([]string, error) {
	if certs.ReasonOf(err) == "" {
		return nil, err
	}
	return []string{fmt.Sprintf("%s (%s)", what, err)}, nil
}
