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
	"github.com/signet-kafka/signet/clientconfig"
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
		Keystores:               keystores(user.Keystores()),
	}, nil
}

// keystores has cert-manager put keystores of these forms into the Secret. Their password stands in the Certificate, for all
// to read: it opens what lies beside its own key as PEM, and another Secret to keep it in would have to be made and watched
// in the namespace of each user.
func keystores(formats []v1alpha1.KeystoreFormat) *cmv1.CertificateKeystores {
	if len(formats) == 0 {
		return nil
	}
	password := v1alpha1.KeystorePassword
	var k cmv1.CertificateKeystores
	for _, format := range formats {
		switch format {
		case v1alpha1.KeystorePKCS12:
			// Modern2023 (AES and HMAC-SHA-256) is the newest that Java 8u301, 11.0.12 and 17 read; cert-manager's default, RC2,
			// is what Java 20 and OpenSSL 3 no longer do.
			k.PKCS12 = &cmv1.PKCS12Keystore{Create: true, Profile: cmv1.Modern2023PKCS12Profile, Password: &password}
		case v1alpha1.KeystoreJKS:
			k.JKS = &cmv1.JKSKeystore{Create: true, Password: &password}
		}
	}
	return &k
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

// ErrNoListener says that every listener of a KafkaCluster is for Signet's own connection.
var ErrNoListener = errors.New("the KafkaCluster has no listener for KafkaUsers: one with authentication MTLS")

// ClientListener returns the listener for a KafkaUser's pods: the cluster's own for pods, else the external one.
func ClientListener(cluster *v1alpha1.KafkaCluster) (v1alpha1.Listener, error) {
	for _, scope := range []v1alpha1.ListenerScope{v1alpha1.ScopeCluster, v1alpha1.ScopeExternal} {
		if l, ok := cluster.Listener(scope); ok {
			return l, nil
		}
	}
	return v1alpha1.Listener{}, ErrNoListener
}

// ScopedListener is a listener that KafkaUsers have files for.
type ScopedListener struct {
	v1alpha1.Listener
	// FileScope is in the names of those files (v1alpha1.FileForScope); "" for the listener of a user's pods, whose files have
	// the plain names.
	FileScope v1alpha1.ListenerScope
}

// ClientListeners returns the listeners that KafkaUsers have files for: first that of their pods, then, whether or not it is
// the same, one for each scope that has files of its own.
func ClientListeners(cluster *v1alpha1.KafkaCluster) ([]ScopedListener, error) {
	own, err := ClientListener(cluster)
	if err != nil {
		return nil, err
	}
	listeners := []ScopedListener{{Listener: own}}
	for _, scope := range clientconfig.Scopes() {
		if l, ok := cluster.Listener(scope); ok {
			listeners = append(listeners, ScopedListener{Listener: l, FileScope: scope})
		}
	}
	return listeners, nil
}
