// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// adminLife is the lifetime of Signet's own certificate with an issuer of cert-manager's own.
const adminLife = 24 * time.Hour

// DesiredAdminCertificate returns the spec of the Certificate by which Signet administers a cluster whose issuer is one
// of cert-manager's own: the same subject that a MeshIssuer would sign.
func DesiredAdminCertificate(cluster *v1alpha1.KafkaCluster) (cmv1.CertificateSpec, error) {
	id, err := principal.ControllerSPIFFEID(principal.DefaultTrustDomain, cluster.Namespace, cluster.Name)
	if err != nil {
		return cmv1.CertificateSpec{}, err
	}
	ref := cluster.Spec.Certificates.IssuerRef
	return cmv1.CertificateSpec{
		LiteralSubject: principal.ControllerSubject(cluster).String(),
		URIs:           []string{id.String()},
		Duration:       &metav1.Duration{Duration: adminLife},
		Usages:         []cmv1.KeyUsage{cmv1.UsageDigitalSignature, cmv1.UsageClientAuth},
		SecretName:     v1alpha1.AdminCertificateName(cluster.Name),
		IssuerRef:      cmmeta.IssuerReference{Group: ref.Group, Kind: ref.Kind, Name: ref.Name},
		PrivateKey:     &cmv1.CertificatePrivateKey{Algorithm: cmv1.ECDSAKeyAlgorithm, Size: 256, Encoding: cmv1.PKCS8, RotationPolicy: cmv1.RotationPolicyAlways},
	}, nil
}

// usesAdminCertificate tells whether Signet administers the cluster by a certificate of cert-manager's own issuer.
func usesAdminCertificate(cluster *v1alpha1.KafkaCluster) bool {
	return !cluster.Spec.Certificates.IssuerRef.IsMeshIssuer() && cluster.Spec.Admin.SASL == nil
}

// AdminCertificates keeps the Certificate of each KafkaCluster whose issuer is one of cert-manager's own.
type AdminCertificates struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
}

// SetupWithManager registers the controller.
func (r *AdminCertificates) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("kafkacluster-admin-certificate").
		For(&v1alpha1.KafkaCluster{}).
		Owns(&cmv1.Certificate{}).
		Complete(r)
}

// Reconcile makes, mends or removes one cluster's Certificate.
func (r *AdminCertificates) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var cluster v1alpha1.KafkaCluster
	if err := r.Client.Get(ctx, req.NamespacedName, &cluster); err != nil || !cluster.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	key := client.ObjectKey{Namespace: cluster.Namespace, Name: v1alpha1.AdminCertificateName(cluster.Name)}
	var have cmv1.Certificate
	found, err := lookup(ctx, r.Client, key, &have)
	if err != nil {
		return ctrl.Result{}, err
	}
	mine := found && metav1.IsControlledBy(&have, &cluster)
	if !usesAdminCertificate(&cluster) {
		if !mine {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, client.IgnoreNotFound(r.Client.Delete(ctx, &have))
	}
	if found && !mine {
		ctrl.LoggerFrom(ctx).Error(errConflict, "a certificate of this name is not Signet's; delete or rename it", "certificate", key.String())
		return ctrl.Result{}, nil
	}
	spec, err := DesiredAdminCertificate(&cluster)
	if err != nil {
		return ctrl.Result{}, err
	}
	if found && DifferingField(have.Spec, spec) == "" {
		return ctrl.Result{}, nil
	}
	want := &cmv1.Certificate{
		TypeMeta: metav1.TypeMeta{APIVersion: cmv1.SchemeGroupVersion.String(), Kind: "Certificate"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name, Labels: map[string]string{LabelManagedBy: ManagedBy},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&cluster, v1alpha1.GroupVersion.WithKind("KafkaCluster"))},
		},
		Spec: spec,
	}
	return ctrl.Result{}, applyCertificate(ctx, r.Client, want)
}

// ReadAdminCertificate reads Signet's own certificate of a cluster from the Secret that cert-manager keeps. reader is a
// Named; see ReasonOf for errors, which hold no key material.
func ReadAdminCertificate(ctx context.Context, reader client.Reader, cluster *v1alpha1.KafkaCluster) (*tls.Certificate, error) {
	ref := adminReference(cluster)
	var secret corev1.Secret
	if err := get(ctx, reader, ref, &secret); err != nil {
		if errors.Is(err, ErrCANotFound) {
			return nil, fmt.Errorf("%w: Signet's own certificate: %w", ErrNotSetUp, err)
		}
		return nil, err
	}
	certificate, err := tls.X509KeyPair(secret.Data[keyTLSCert], secret.Data[keyTLSKey])
	if err != nil {
		return nil, fmt.Errorf("%w: %s holds no certificate with its key", ErrCAInvalid, ref)
	}
	return &certificate, nil
}
