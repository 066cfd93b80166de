// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// TypeUser is the type of every principal that Signet maps to, with the colon behind it. Kafka's wildcard User:* and
// its quotas know no other type.
const TypeUser = "User:"

// UserSubject is the subject of the certificate of a KafkaUser, or of Signet's own.
type UserSubject struct {
	// Namespace becomes OU.
	Namespace string
	// Name becomes CN.
	Name string
	// Organization becomes O.
	Organization string
}

// RDNSequence returns the subject in its encoded order: O, OU, CN.
func (s UserSubject) RDNSequence() pkix.RDNSequence {
	attribute := func(last int, value string) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 5, 4, last}, Value: value}}
	}
	return pkix.RDNSequence{attribute(10, s.Organization), attribute(11, s.Namespace), attribute(3, s.Name)}
}

// RawDER returns the subject's DER encoding, for x509.Certificate.RawSubject.
func (s UserSubject) RawDER() ([]byte, error) {
	der, err := asn1.Marshal(s.RDNSequence())
	if err != nil {
		return nil, fmt.Errorf("encode subject %s: %w", s, err)
	}
	return der, nil
}

// String returns CN=name,OU=namespace,O=organization, as brokers see it. The three are DNS labels, which need no
// escaping.
func (s UserSubject) String() string {
	return fmt.Sprintf("CN=%s,OU=%s,O=%s", s.Name, s.Namespace, s.Organization)
}

// SubjectOf returns the certificate subject of the KafkaUser with this namespace and name in the cluster.
func SubjectOf(cluster *v1alpha1.KafkaCluster, namespace, name string) UserSubject {
	return UserSubject{Namespace: namespace, Name: name, Organization: organization(cluster)}
}

// ForUser returns the principal of a KafkaUser by its cluster's template: User:<namespace>.<name> unless the cluster
// says otherwise. It errs where the template needs what the KafkaUser does not have.
func ForUser(cluster *v1alpha1.KafkaCluster, user *v1alpha1.KafkaUser) (string, error) {
	template, err := ParseTemplate(cluster.Spec.PrincipalTemplate)
	if err != nil {
		return "", fmt.Errorf("kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	name, err := template.Name(identityOf(user))
	if err != nil {
		return "", fmt.Errorf("kafkauser %s/%s: %w", user.Namespace, user.Name, err)
	}
	return TypeUser + name, nil
}

// Recorded tells whether a mapping can be what Signet recorded for its owner: it has the principal that the cluster's
// template gives to a KafkaUser of that name. A service account that the template may need is not looked at.
func Recorded(cluster *v1alpha1.KafkaCluster, spec *v1alpha1.PrincipalMappingSpec) bool {
	template, err := ParseTemplate(cluster.Spec.PrincipalTemplate)
	if err != nil || spec.Owner == nil {
		return false
	}
	name, err := template.Name(Identity{Namespace: spec.Owner.Namespace, Name: spec.Owner.Name})
	return errors.Is(err, errNoServiceAccount) || err == nil && spec.Principal == TypeUser+name
}

func identityOf(user *v1alpha1.KafkaUser) Identity {
	id := Identity{Namespace: user.Namespace, Name: user.Name}
	if user.Spec.Workload != nil {
		id.ServiceAccount = user.Spec.Workload.ServiceAccountName
	}
	return id
}

// UserSPIFFEID returns the one SPIFFE ID in a KafkaUser's certificate: spiffe://<trustDomain>/user/<namespace>/<name>.
// It has no /ns/ in it, so that Istio's source.namespaces never takes it for a mesh workload.
func UserSPIFFEID(trustDomain, namespace, name string) (spiffeid.ID, error) {
	return pathID(trustDomain, "user", namespace, name)
}

// WorkloadSPIFFEID returns the identity that Istio gives a service account's pods:
// spiffe://<trustDomain>/ns/<namespace>/sa/<serviceAccount>.
func WorkloadSPIFFEID(trustDomain, namespace, serviceAccount string) (spiffeid.ID, error) {
	return pathID(trustDomain, "ns", namespace, "sa", serviceAccount)
}

// SharesTrustDomain tells whether a CA that is confined to the trust domain own could sign an identity of the mesh: where
// the mesh has the same one, or one below it, which the name constraint of own lets pass in Go's verifier (RFC 5280 section
// 4.2.1.10 would want a leading dot for that).
func SharesTrustDomain(own, mesh string) bool {
	return mesh != "" && (mesh == own || strings.HasSuffix(mesh, "."+own))
}

// ControllerSubject returns the subject of Signet's own client certificate for a cluster. Its organization differs from
// that of users, so that no KafkaUser, whatever its name, has it.
func ControllerSubject(cluster *v1alpha1.KafkaCluster) UserSubject {
	return UserSubject{Namespace: cluster.Namespace, Name: cluster.Name, Organization: organization(cluster) + "-controller"}
}

// ControllerSPIFFEID returns the SPIFFE ID in Signet's own client certificate for a cluster:
// spiffe://<trustDomain>/controller/<cluster namespace>/<cluster name>.
func ControllerSPIFFEID(trustDomain, clusterNamespace, cluster string) (spiffeid.ID, error) {
	return pathID(trustDomain, "controller", clusterNamespace, cluster)
}

// ForController returns the principal of Signet's own connection to a cluster: User:signet:<namespace>.<name>. A
// KafkaUser's principal has no second colon.
func ForController(clusterNamespace, cluster string) string {
	return TypeUser + "signet:" + clusterNamespace + "." + cluster
}

// ForAdmin returns the principal by which Signet administers a cluster: ForController, by its certificate; with spec.admin.sasl
// User:<username>, or what its token last said (status.adminPrincipal), "" before there was one.
func ForAdmin(cluster *v1alpha1.KafkaCluster) string {
	switch sasl := cluster.Spec.Admin.SASL; {
	case sasl == nil:
		return ForController(cluster.Namespace, cluster.Name)
	case sasl.Mechanism.IsSCRAM():
		return TypeUser + sasl.Username
	}
	return cluster.Status.AdminPrincipal
}

// superUsers returns the principals that brokers of a cluster let do everything: Signet's own by its certificate, also while
// it connects by SASL, so that it can change over, that by which it connects, and those of spec.superUsers.
func superUsers(cluster *v1alpha1.KafkaCluster) []string {
	supers := []string{ForController(cluster.Namespace, cluster.Name)}
	for _, super := range append([]string{ForAdmin(cluster)}, cluster.Spec.SuperUsers...) {
		// A semicolon separates super users: one with it in its name cannot be one.
		if super != "" && !strings.Contains(super, ";") && !slices.Contains(supers, super) {
			supers = append(supers, super)
		}
	}
	return supers
}

func pathID(trustDomain string, segments ...string) (spiffeid.ID, error) {
	td, err := spiffeid.TrustDomainFromString(trustDomain)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("trust domain %q: %w", trustDomain, err)
	}
	id, err := spiffeid.FromSegments(td, segments...)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("spiffe id of %v in %s: %w", segments, trustDomain, err)
	}
	return id, nil
}

// organization is the O= of a cluster's users. A cluster that did not pass through the API server's defaulting has none.
func organization(cluster *v1alpha1.KafkaCluster) string {
	if cluster.Spec.Certificates.Organization == "" {
		return "signet"
	}
	return cluster.Spec.Certificates.Organization
}
