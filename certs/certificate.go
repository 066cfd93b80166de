// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/sha256"
	"encoding/binary"
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
	"k8s.io/apimachinery/pkg/types"

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
	defaultDuration = 6 * time.Hour
	minDuration     = time.Hour
)

// Renewal falls between these shares of a certificate's life, in per cent: two thirds, give or take.
const (
	renewFrom = 60
	renewTo   = 73
)

// DesiredCertificate returns the spec of the cert-manager Certificate that Signet makes for the KafkaUser of a MeshIssuer;
// see Issuer.Certificate.
func DesiredCertificate(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, issuer *v1alpha1.MeshIssuer) (cmv1.CertificateSpec, error) {
	return FromMeshIssuer(issuer).Certificate(user, cluster)
}

// Certificate returns the spec of the cert-manager Certificate that Signet makes for the KafkaUser, complete and
// deterministic: package issuer signs only for a Certificate that equals it. It errs where the declaration cannot be
// carried out.
func (i Issuer) Certificate(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster) (cmv1.CertificateSpec, error) {
	if td := cluster.Spec.MeshTrustDomain; principal.SharesTrustDomain(i.TrustDomain, td) {
		return cmv1.CertificateSpec{}, fmt.Errorf("the mesh's trust domain %q of kafkacluster %s/%s is that of %s, or below it: set the trustDomain of a MeshIssuer to one of its own, or it could sign mesh identities", td, cluster.Namespace, cluster.Name, i)
	}
	id, err := principal.UserSPIFFEID(i.TrustDomain, user.Namespace, user.Name)
	if err != nil {
		return cmv1.CertificateSpec{}, err
	}
	name, life := v1alpha1.CertificateName(user.Name), duration(user, cluster, i.MaxDuration)
	revisions := int32(2)
	return cmv1.CertificateSpec{
		LiteralSubject: principal.SubjectOf(cluster, user.Namespace, user.Name).String(),
		URIs:           []string{id.String()},
		Duration:       &metav1.Duration{Duration: life},
		RenewBefore:    &metav1.Duration{Duration: renewBefore(user.UID, life)},
		Usages:         []cmv1.KeyUsage{cmv1.UsageDigitalSignature, cmv1.UsageClientAuth},
		SecretName:     name,
		SecretTemplate: &cmv1.CertificateSecretTemplate{Labels: UserLabels(user.Name)},
		IssuerRef:      cmmeta.IssuerReference{Group: i.Reference.Group, Kind: i.Reference.Kind, Name: i.Reference.Name},
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

func duration(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, limit time.Duration) time.Duration {
	d := cluster.Spec.Certificates.Duration.Duration
	if c := user.Spec.Certificate; c != nil && c.Duration != nil {
		d = c.Duration.Duration
	}
	if d == 0 {
		d = defaultDuration
	}
	return max(min(d, limit), minDuration)
}

// renewBefore returns how long before its end a certificate of this life, at least minDuration, is renewed: the same for
// each certificate of a KafkaUser, and spread evenly over KafkaUsers, so that those that were made in one second do not
// all come back in another. cert-manager's own default is a third of the life for all; renewBeforePercentage knows whole
// per cents only. A change of renewBefore makes cert-manager plan the renewal anew, and issues nothing.
func renewBefore(uid types.UID, life time.Duration) time.Duration {
	first, last := life/100*renewFrom, life/100*renewTo
	sum := sha256.Sum256([]byte(uid))
	offset := binary.BigEndian.Uint64(sum[:8]) % uint64((last-first)/time.Second)
	return life - first - time.Duration(offset)*time.Second
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

// ClientListener returns the listener for a KafkaUser's pods: the cluster's own for pods, else the external one.
func ClientListener(cluster *v1alpha1.KafkaCluster) (v1alpha1.Listener, error) {
	for _, scope := range []v1alpha1.ListenerScope{v1alpha1.ScopeCluster, v1alpha1.ScopeExternal} {
		if l, ok := cluster.Listener(scope); ok {
			return l, nil
		}
	}
	return v1alpha1.Listener{}, errNoListener
}
