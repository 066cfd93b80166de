// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

const (
	// LabelManagedBy with the value ManagedBy is on every object that Signet makes for a KafkaUser. The controller's
	// cache of Certificates and ConfigMaps may be confined to it.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of LabelManagedBy.
	ManagedBy = "signet"
	// LabelUser holds the name of the KafkaUser.
	LabelUser = "kafka.signet.dev/user"
)

// The defaults of the API server, for objects that did not pass through it.
const (
	defaultDuration    = 6 * time.Hour
	defaultMaxDuration = 24 * time.Hour
	minDuration        = time.Hour
	defaultTrustDomain = "kafka.signet.dev"
)

// DesiredCertificate returns the spec of the cert-manager Certificate that Signet makes for the KafkaUser, complete and
// deterministic: package issuer signs only for a Certificate that equals it. It errs where the declaration cannot be
// carried out.
func DesiredCertificate(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, issuer *v1alpha1.MeshIssuer) (cmv1.CertificateSpec, error) {
	if td := cluster.Spec.MeshTrustDomain; td != "" && td == TrustDomain(issuer) {
		return cmv1.CertificateSpec{}, fmt.Errorf("meshissuer %s and kafkacluster %s/%s have the same trust domain %q: set the MeshIssuer's trustDomain to one of its own, or its certificates would be mesh identities", issuer.Name, cluster.Namespace, cluster.Name, td)
	}
	id, err := principal.UserSPIFFEID(TrustDomain(issuer), user.Namespace, user.Name)
	if err != nil {
		return cmv1.CertificateSpec{}, err
	}
	name := v1alpha1.CertificateName(user.Name)
	revisions := int32(2)
	return cmv1.CertificateSpec{
		LiteralSubject: principal.SubjectOf(cluster, user.Namespace, user.Name).String(),
		URIs:           []string{id.String()},
		Duration:       &metav1.Duration{Duration: duration(user, cluster, issuer)},
		Usages:         []cmv1.KeyUsage{cmv1.UsageDigitalSignature, cmv1.UsageClientAuth},
		SecretName:     name,
		SecretTemplate: &cmv1.CertificateSecretTemplate{Labels: UserLabels(user.Name)},
		IssuerRef:      cmmeta.IssuerReference{Group: v1alpha1.GroupVersion.Group, Kind: "MeshIssuer", Name: issuer.Name},
		PrivateKey: &cmv1.CertificatePrivateKey{
			Algorithm: cmv1.ECDSAKeyAlgorithm, Size: 256,
			Encoding:       cmv1.PKCS8, // the one form that Kafka's PEM keystore reads
			RotationPolicy: cmv1.RotationPolicyAlways,
		},
		RevisionHistoryLimit:    &revisions,
		AdditionalOutputFormats: []cmv1.CertificateAdditionalOutputFormat{{Type: cmv1.CertificateOutputFormatCombinedPEM}},
	}, nil
}

// UserLabels are the labels of everything that Signet makes for the KafkaUser with this name.
func UserLabels(user string) map[string]string {
	return map[string]string{LabelManagedBy: ManagedBy, LabelUser: user}
}

// TrustDomain returns the SPIFFE trust domain of an issuer's certificates.
func TrustDomain(issuer *v1alpha1.MeshIssuer) string {
	if issuer.Spec.TrustDomain == "" {
		return defaultTrustDomain
	}
	return issuer.Spec.TrustDomain
}

// MaxDuration returns the longest lifetime of an issuer's certificates.
func MaxDuration(issuer *v1alpha1.MeshIssuer) time.Duration {
	if issuer.Spec.MaxDuration.Duration == 0 {
		return defaultMaxDuration
	}
	return issuer.Spec.MaxDuration.Duration
}

func duration(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, issuer *v1alpha1.MeshIssuer) time.Duration {
	d := cluster.Spec.Certificates.Duration.Duration
	if c := user.Spec.Certificate; c != nil && c.Duration != nil {
		d = c.Duration.Duration
	}
	if d == 0 {
		d = defaultDuration
	}
	return max(min(d, MaxDuration(issuer)), minDuration)
}

// DifferingField returns the name of the first field in which two Certificate specs differ ("uris"), or "" where they
// are equal.
func DifferingField(a, b cmv1.CertificateSpec) string {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if !equality.Semantic.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			name, _, _ := strings.Cut(x.Type().Field(i).Tag.Get("json"), ",")
			return name
		}
	}
	return ""
}

// RequestName is the name that cert-manager gives to the CertificateRequest of a Certificate's revision (its feature
// StableCertificateRequestName, on by default). A KafkaUser's Certificate is far below the length from which on
// cert-manager shortens it.
func RequestName(certificate string, revision int) string {
	return certificate + "-" + strconv.Itoa(revision)
}

// errNoListener cannot happen past the CRD's validation.
var errNoListener = errors.New("the kafkacluster has no listener")

// clientListener returns the listener for a KafkaUser's pods: the cluster's own for pods, else the external one.
func clientListener(cluster *v1alpha1.KafkaCluster) (v1alpha1.Listener, error) {
	for _, scope := range []v1alpha1.ListenerScope{v1alpha1.ScopeCluster, v1alpha1.ScopeExternal} {
		if l, ok := cluster.Listener(scope); ok {
			return l, nil
		}
	}
	return v1alpha1.Listener{}, errNoListener
}
