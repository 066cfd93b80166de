// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// ReadCA reads the CA of a MeshIssuer from its Secret, and returns the Secret's version with it: an opaque text that is
// different as soon as the Secret may be. reader is a Named. It does not look at the time; see CA.CheckTime.
func ReadCA(ctx context.Context, reader client.Reader, issuer *v1alpha1.MeshIssuer) (*CA, string, error) {
	data, version, err := ReadCASecret(ctx, reader, issuer)
	if err != nil {
		return nil, "", err
	}
	ca, err := ParseCA(data)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", caReference(issuer), err)
	}
	return ca, version, nil
}

// ReadCASecret reads the data and the version of a MeshIssuer's Secret, for callers that keep what they made of it.
func ReadCASecret(ctx context.Context, reader client.Reader, issuer *v1alpha1.MeshIssuer) (map[string][]byte, string, error) {
	ref := caReference(issuer)
	var secret corev1.Secret
	if err := get(ctx, reader, ref, &secret); err != nil {
		return nil, "", err
	}
	return secret.Data, string(secret.UID) + "/" + secret.ResourceVersion, nil
}

// ClientTrust returns, as PEM, what the brokers of a cluster must trust to verify its clients: the roots of the
// cluster's MeshIssuer. reader is a Named; see ReasonOf for errors.
func ClientTrust(ctx context.Context, reader client.Reader, cluster *v1alpha1.KafkaCluster) ([]byte, error) {
	var issuer v1alpha1.MeshIssuer
	name := cluster.Spec.Certificates.IssuerRef.Name
	if err := reader.Get(ctx, client.ObjectKey{Name: name}, &issuer); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("%w: meshissuer %s", ErrIssuerNotFound, name)
		}
		return nil, fmt.Errorf("read meshissuer %s: %w", name, err)
	}
	ca, _, err := ReadCA(ctx, reader, &issuer)
	if err != nil {
		return nil, fmt.Errorf("meshissuer %s: %w", name, err)
	}
	return EncodeCertificates(ca.Roots), nil
}

// ServerTrust returns, as PEM, what clients must trust to verify the brokers behind a listener of the cluster: its
// serverCA, else the same as ClientTrust. reader is a Named; see ReasonOf for errors.
func ServerTrust(ctx context.Context, reader client.Reader, cluster *v1alpha1.KafkaCluster, l v1alpha1.Listener) ([]byte, error) {
	if l.ServerCA == nil {
		return ClientTrust(ctx, reader, cluster)
	}
	ref, key := serverCAReference(cluster, l)
	text, err := readKey(ctx, reader, ref, key)
	if err != nil {
		return nil, fmt.Errorf("serverCA of listener %s: %w", l.Name, err)
	}
	certificates, err := ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("serverCA of listener %s: %s, key %s: %w", l.Name, ref, key, err)
	}
	return EncodeCertificates(certificates), nil
}

func readKey(ctx context.Context, reader client.Reader, ref Reference, key string) ([]byte, error) {
	var text []byte
	if ref.Kind == KindConfigMap {
		var configMap corev1.ConfigMap
		if err := get(ctx, reader, ref, &configMap); err != nil {
			return nil, err
		}
		text = []byte(configMap.Data[key])
	} else {
		var secret corev1.Secret
		if err := get(ctx, reader, ref, &secret); err != nil {
			return nil, err
		}
		text = secret.Data[key]
	}
	if len(text) == 0 {
		return nil, fmt.Errorf("%w: %s has no key %s", ErrCANotFound, ref, key)
	}
	return text, nil
}

// get reads a Secret or ConfigMap. That it does not exist, and that it may not be read, are both ErrCANotFound: an
// administrator has to do something, and a retry by itself is in vain.
func get(ctx context.Context, reader client.Reader, ref Reference, into client.Object) error {
	err := reader.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, into)
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %s does not exist", ErrCANotFound, ref)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: the controller may not read %s: grant its service account get, list and watch on it (chart value controller.caSecrets)", ErrCANotFound, ref)
	}
	return fmt.Errorf("read %s: %w", ref, err)
}

func caReference(issuer *v1alpha1.MeshIssuer) Reference {
	s := issuer.Spec.CA.SecretRef
	return Reference{Kind: KindSecret, Namespace: s.Namespace, Name: s.Name}
}

func serverCAReference(cluster *v1alpha1.KafkaCluster, l v1alpha1.Listener) (Reference, string) {
	key := l.ServerCA.Key
	if key == "" {
		key = "ca.crt"
	}
	if l.ServerCA.ConfigMap != "" {
		return Reference{Kind: KindConfigMap, Namespace: cluster.Namespace, Name: l.ServerCA.ConfigMap}, key
	}
	return Reference{Kind: KindSecret, Namespace: cluster.Namespace, Name: l.ServerCA.Secret}, key
}

// References returns the Secrets and ConfigMaps that these issuers and clusters read, each once.
func References(issuers []v1alpha1.MeshIssuer, clusters []v1alpha1.KafkaCluster) []Reference {
	seen := map[Reference]bool{}
	var out []Reference
	add := func(ref Reference) {
		if !seen[ref] {
			seen[ref] = true
			out = append(out, ref)
		}
	}
	for i := range issuers {
		add(caReference(&issuers[i]))
	}
	for i := range clusters {
		for _, ref := range clusterReferences(&clusters[i]) {
			add(ref)
		}
	}
	return out
}

func clusterReferences(cluster *v1alpha1.KafkaCluster) []Reference {
	var out []Reference
	for _, l := range cluster.Spec.Listeners {
		if l.ServerCA != nil {
			ref, _ := serverCAReference(cluster, l)
			out = append(out, ref)
		}
	}
	return out
}

// Affected returns the clusters whose trust depends on the object: by a listener's serverCA, or by the CA of their
// MeshIssuer.
func Affected(ref Reference, issuers []v1alpha1.MeshIssuer, clusters []v1alpha1.KafkaCluster) []v1alpha1.KafkaCluster {
	byName := map[string]bool{}
	for i := range issuers {
		if caReference(&issuers[i]) == ref {
			byName[issuers[i].Name] = true
		}
	}
	var out []v1alpha1.KafkaCluster
	for i := range clusters {
		hit := byName[clusters[i].Spec.Certificates.IssuerRef.Name]
		for _, r := range clusterReferences(&clusters[i]) {
			hit = hit || r == ref
		}
		if hit {
			out = append(out, clusters[i])
		}
	}
	return out
}
