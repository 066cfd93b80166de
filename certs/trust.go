// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// ReadCA reads the CA of a MeshIssuer's Secret (mode Intermediate or Direct) with its key, from the API server where
// reader, a Named, keeps it without. It does not look at the time; see CA.CheckTime, and ReasonOf for errors.
func ReadCA(ctx context.Context, reader client.Reader, issuer *v1alpha1.MeshIssuer) (*CA, error) {
	return readCA(ctx, reader, issuer, readWhole, ParseCA)
}

// ReadPublicCA is ReadCA without the key.
func ReadPublicCA(ctx context.Context, reader client.Reader, issuer *v1alpha1.MeshIssuer) (*CA, error) {
	read := func(ctx context.Context, reader client.Reader, ref Reference, into *corev1.Secret) error {
		return get(ctx, reader, ref, into)
	}
	return readCA(ctx, reader, issuer, read, ParsePublic)
}

func readCA(ctx context.Context, reader client.Reader, issuer *v1alpha1.MeshIssuer,
	read func(context.Context, client.Reader, Reference, *corev1.Secret) error, parse func(map[string][]byte) (*CA, error),
) (*CA, error) {
	ref, ok := caReference(issuer)
	if !ok {
		return nil, fmt.Errorf("%w: meshissuer %s has no spec.ca.secretRef", ErrCAInvalid, issuer.Name)
	}
	var secret corev1.Secret
	if err := read(ctx, reader, ref, &secret); err != nil {
		return nil, err
	}
	ca, err := parse(secret.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	return ca, nil
}

// SecretVersion returns a text that is different as soon as the Secret of a MeshIssuer may be. reader is a Named.
func SecretVersion(ctx context.Context, reader client.Reader, issuer *v1alpha1.MeshIssuer) (string, error) {
	ref, ok := caReference(issuer)
	if !ok {
		return "", fmt.Errorf("%w: meshissuer %s names no Secret", ErrCAInvalid, issuer.Name)
	}
	var secret corev1.Secret
	if err := get(ctx, reader, ref, &secret); err != nil {
		return "", err
	}
	return string(secret.UID) + "/" + secret.ResourceVersion, nil
}

// ReadStepCA reads the Secret with which Signet asks the step-ca of a MeshIssuer. reader is a Named.
func ReadStepCA(ctx context.Context, reader client.Reader, issuer *v1alpha1.MeshIssuer) (map[string][]byte, error) {
	ref, ok := caReference(issuer)
	if !ok {
		return nil, fmt.Errorf("%w: meshissuer %s has no spec.ca.stepCA", ErrCAInvalid, issuer.Name)
	}
	var secret corev1.Secret
	if err := readWhole(ctx, reader, ref, &secret); err != nil {
		return nil, err
	}
	return secret.Data, nil
}

// ClientTrust returns, as PEM, what the brokers of a cluster must trust to verify its clients: the roots of the cluster's
// MeshIssuer as they are recorded, and what clientCA holds. See ReasonOf for errors.
func (a *Authorities) ClientTrust(ctx context.Context, cluster *v1alpha1.KafkaCluster) ([]byte, error) {
	roots, err := a.issuerRoots(ctx, cluster)
	if err != nil {
		return nil, err
	}
	return a.ClientTrustWith(ctx, cluster, roots)
}

// ClientTrustWith is ClientTrust where the MeshIssuer's roots are these.
func (a *Authorities) ClientTrustWith(ctx context.Context, cluster *v1alpha1.KafkaCluster, roots []*x509.Certificate) ([]byte, error) {
	more, err := a.referenced(ctx, cluster, cluster.Spec.Certificates.ClientCA, "spec.certificates.clientCA")
	if err != nil {
		return nil, err
	}
	return EncodeCertificates(append(slices.Clone(roots), more...)), nil
}

// ServerTrust returns, as PEM, what clients must trust to verify the brokers behind a listener of the cluster: its
// serverCA, else the roots of the MeshIssuer, else clientCA. See ReasonOf for errors.
func (a *Authorities) ServerTrust(ctx context.Context, cluster *v1alpha1.KafkaCluster, l v1alpha1.Listener) ([]byte, error) {
	if l.ServerCA != nil {
		certificates, err := a.referenced(ctx, cluster, l.ServerCA, "serverCA of listener "+l.Name)
		if err != nil {
			return nil, err
		}
		return EncodeCertificates(certificates), nil
	}
	if !cluster.Spec.Certificates.IssuerRef.IsMeshIssuer() {
		return a.ClientTrust(ctx, cluster)
	}
	roots, err := a.issuerRoots(ctx, cluster)
	if err != nil {
		return nil, err
	}
	return EncodeCertificates(roots), nil
}

// issuerRoots returns the roots of the cluster's MeshIssuer; none with an issuer of cert-manager's own.
func (a *Authorities) issuerRoots(ctx context.Context, cluster *v1alpha1.KafkaCluster) ([]*x509.Certificate, error) {
	ref := cluster.Spec.Certificates.IssuerRef
	if !ref.IsMeshIssuer() {
		return nil, nil
	}
	var issuer v1alpha1.MeshIssuer
	if found, err := lookup(ctx, a.named, client.ObjectKey{Name: ref.Name}, &issuer); err != nil {
		return nil, err
	} else if !found {
		return nil, fmt.Errorf("%w: meshissuer %s", ErrIssuerNotFound, ref.Name)
	}
	record, err := a.Record(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	return record.Trusted(), nil
}

// referenced reads the certificates behind a reference in the cluster's namespace; none where it is nil.
func (a *Authorities) referenced(ctx context.Context, cluster *v1alpha1.KafkaCluster, key *v1alpha1.KeyReference, field string) ([]*x509.Certificate, error) {
	if key == nil {
		return nil, nil
	}
	ref, name := keyReference(cluster, key)
	text, err := readKey(ctx, a.named, ref, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	certificates, err := ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %s, key %s: %w", field, ref, name, err)
	}
	return certificates, nil
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

// caReference names the Secret of a MeshIssuer: that of the CA, or the one with which a step-ca is asked.
func caReference(issuer *v1alpha1.MeshIssuer) (Reference, bool) {
	s := issuer.Spec.CA.SecretRef
	if step := issuer.Spec.CA.StepCA; s == nil && step != nil {
		s = &step.SecretRef
	}
	if s == nil {
		return Reference{}, false
	}
	return Reference{Kind: KindSecret, Namespace: s.Namespace, Name: s.Name}, true
}

// ReadsSecret tells whether the MeshIssuer reads this Secret.
func ReadsSecret(issuer *v1alpha1.MeshIssuer, ref Reference) bool {
	own, ok := caReference(issuer)
	return ok && own == ref
}

func keyReference(cluster *v1alpha1.KafkaCluster, k *v1alpha1.KeyReference) (Reference, string) {
	key := k.Key
	if key == "" {
		key = "ca.crt"
	}
	if k.ConfigMap != "" {
		return Reference{Kind: KindConfigMap, Namespace: cluster.Namespace, Name: k.ConfigMap}, key
	}
	return Reference{Kind: KindSecret, Namespace: cluster.Namespace, Name: k.Secret}, key
}

// References returns the Secrets and ConfigMaps that these issuers and clusters read, each once: those whose private keys
// are used (the Secrets of MeshIssuers in the modes Direct and StepCA, and those that Signet itself connects with), and those
// that are read for their certificates (the CAs of MeshIssuers in the mode Intermediate, and whatever is only trusted).
func References(issuers []v1alpha1.MeshIssuer, clusters []v1alpha1.KafkaCluster) (withKeys, certificates []Reference) {
	add := func(list *[]Reference, ref Reference) {
		if !slices.Contains(withKeys, ref) && !slices.Contains(*list, ref) {
			*list = append(*list, ref)
		}
	}
	for i := range issuers {
		if ref, ok := caReference(&issuers[i]); ok && Mode(&issuers[i]) != v1alpha1.ModeIntermediate {
			add(&withKeys, ref)
		}
	}
	for i := range clusters {
		for _, ref := range adminReferences(&clusters[i]) {
			add(&withKeys, ref)
		}
	}
	for i := range issuers {
		if ref, ok := caReference(&issuers[i]); ok {
			add(&certificates, ref)
		}
	}
	for i := range clusters {
		for _, ref := range trustReferences(&clusters[i]) {
			add(&certificates, ref)
		}
	}
	return withKeys, certificates
}

func clusterReferences(cluster *v1alpha1.KafkaCluster) []Reference {
	return append(trustReferences(cluster), adminReferences(cluster)...)
}

// trustReferences names what a cluster says is to be trusted.
func trustReferences(cluster *v1alpha1.KafkaCluster) []Reference {
	var out []Reference
	for _, l := range cluster.Spec.Listeners {
		if l.ServerCA != nil {
			ref, _ := keyReference(cluster, l.ServerCA)
			out = append(out, ref)
		}
	}
	if key := cluster.Spec.Certificates.ClientCA; key != nil {
		ref, _ := keyReference(cluster, key)
		out = append(out, ref)
	}
	if sasl := cluster.Spec.Admin.SASL; sasl != nil && sasl.TokenEndpoint != nil && sasl.TokenEndpoint.CA != nil {
		ref, _ := keyReference(cluster, sasl.TokenEndpoint.CA)
		out = append(out, ref)
	}
	return out
}

// adminReference names the Secret of the cluster's own certificate, where an issuer of cert-manager's own signs it.
func adminReference(cluster *v1alpha1.KafkaCluster) Reference {
	return Reference{Kind: KindSecret, Namespace: cluster.Namespace, Name: v1alpha1.AdminCertificateName(cluster.Name)}
}

// adminReferences names the Secrets that Signet itself connects with.
func adminReferences(cluster *v1alpha1.KafkaCluster) []Reference {
	switch sasl := cluster.Spec.Admin.SASL; {
	case sasl != nil:
		return []Reference{{Kind: KindSecret, Namespace: cluster.Namespace, Name: sasl.SecretName}}
	case usesAdminCertificate(cluster):
		return []Reference{adminReference(cluster)}
	}
	return nil
}

// Affected returns the clusters that refer to the object: as a listener's or the token endpoint's CA, as clientCA, or as the
// Secret of Signet's own certificate or of what it logs in with.
func Affected(ref Reference, clusters []v1alpha1.KafkaCluster) []v1alpha1.KafkaCluster {
	var out []v1alpha1.KafkaCluster
	for i := range clusters {
		if slices.Contains(clusterReferences(&clusters[i]), ref) {
			out = append(out, clusters[i])
		}
	}
	return out
}
