// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/clientconfig"
	"github.com/signet-kafka/signet/principal/subject"
)

// File is one file of a client's credentials.
type File struct {
	// Name inside the directory.
	Name string
	// Mode of the file: keys are for the owner alone.
	Mode fs.FileMode
	// Data of the file.
	Data []byte
}

// CheckExportable tells whether a KafkaUser has credentials to export. Everything else that keeps it from being ready
// comes back as warnings: the files are good, only Kafka may not let them in yet.
func CheckExportable(user *v1alpha1.KafkaUser) (warnings []string, err error) {
	name := user.Namespace + "/" + user.Name
	if user.DeletionTimestamp != nil {
		return nil, fmt.Errorf("kafkauser %s is being deleted", name)
	}
	if c := user.Spec.Certificate; c != nil && c.Delivery == v1alpha1.DeliveryPodCertificate {
		return nil, fmt.Errorf("kafkauser %s has no certificate to export: with delivery PodCertificate each pod has a key of its own, which never leaves its node; get a certificate for this client with kubectl signet sign %s -n %s --dir DIR", name, user.Name, user.Namespace)
	}
	if c := problem(user, user.Status.Conditions, v1alpha1.ConditionCertificateReady); len(c) > 0 {
		return nil, fmt.Errorf("kafkauser %s has no certificate to export: %s: %s", name, c[0].Reason, c[0].Message)
	}
	return notYetInForce(user), nil
}

// notYetInForce are the reasons for which Kafka may not let a user's certificate in.
func notYetInForce(user *v1alpha1.KafkaUser) (warnings []string) {
	for _, condition := range []string{v1alpha1.ConditionMappingRecorded, v1alpha1.ConditionAccessSynced} {
		for _, p := range problem(user, user.Status.Conditions, condition) {
			warnings = append(warnings, fmt.Sprintf("kafkauser %s/%s: %s: %s: %s", user.Namespace, user.Name, p.Condition, p.Reason, p.Message))
		}
	}
	return warnings
}

// SelectListener returns the listener of this name, or the one for clients outside Kubernetes where the name is empty.
func SelectListener(cluster *v1alpha1.KafkaCluster, name string) (v1alpha1.Listener, error) {
	listener, found := cluster.Listener(v1alpha1.ScopeExternal)
	if name != "" {
		found = false
		for _, l := range cluster.Spec.Listeners {
			if l.Name == name {
				listener, found = l, true
			}
		}
	}
	var have []string
	for _, l := range cluster.Spec.Listeners {
		have = append(have, fmt.Sprintf("%s (scope %s)", l.Name, l.Scope))
	}
	where := fmt.Sprintf("kafkacluster %s/%s", cluster.Namespace, cluster.Name)
	switch {
	case !found && name == "":
		return v1alpha1.Listener{}, fmt.Errorf("%s has no listener with scope External; it has %s: choose one with --listener if this client reaches it", where, strings.Join(have, ", "))
	case !found:
		return v1alpha1.Listener{}, fmt.Errorf("%s has no listener %s; it has %s", where, name, strings.Join(have, ", "))
	case listener.Authentication == v1alpha1.AuthenticationMesh:
		return v1alpha1.Listener{}, fmt.Errorf("%s: listener %s is for pods with a sidecar of the mesh, which speaks for them: there are no credentials for it", where, listener.Name)
	case !listener.ForClients():
		return v1alpha1.Listener{}, fmt.Errorf("%s: listener %s is for Signet's own connection (authentication %s), so that there are no credentials for it", where, listener.Name, listener.Authentication)
	case listener.Authentication == v1alpha1.AuthenticationNone:
		return v1alpha1.Listener{}, fmt.Errorf("%s: listener %s identifies nobody (authentication None), so that there are no credentials for it", where, listener.Name)
	}
	return listener, nil
}

// TrustSource is where the certificates come from that a client must trust to reach a listener.
type TrustSource int

// The sources of trust.
const (
	// TrustServerCA is the listener's own serverCA, in the KafkaCluster's namespace.
	TrustServerCA TrustSource = iota
	// TrustBundle is the KafkaUser's trust bundle, which Signet keeps current: for a listener with the same serverCA as
	// one that it is made for.
	TrustBundle
	// TrustIssuer is the root of whoever signed the user's certificate, which is the default where a listener names no
	// serverCA: ca.crt in the KafkaUser's Secret, or, for who may not read that, the MeshIssuer's ClusterTrustBundle.
	TrustIssuer
)

// TrustSources returns the sources for a listener, the best first.
func TrustSources(cluster *v1alpha1.KafkaCluster, listener v1alpha1.Listener) []TrustSource {
	var sources []TrustSource
	if listener.ServerCA != nil {
		sources = append(sources, TrustServerCA)
	}
	if bundleKey(cluster, listener) != "" {
		sources = append(sources, TrustBundle)
	}
	if listener.ServerCA == nil {
		sources = append(sources, TrustIssuer)
	}
	return sources
}

// bundleKey is the key of a KafkaUser's trust bundle that holds the certificates to trust at a listener; "" where none does.
func bundleKey(cluster *v1alpha1.KafkaCluster, listener v1alpha1.Listener) string {
	listeners, err := certs.ClientListeners(cluster)
	if err != nil {
		return "" // a cluster without listeners has no bundles either
	}
	for _, l := range listeners {
		if sameKey(l.ServerCA, listener.ServerCA) {
			return v1alpha1.FileForScope(v1alpha1.FileCA, l.FileScope)
		}
	}
	return ""
}

func sameKey(a, b *v1alpha1.KeyReference) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Credentials are what a client's files are made from.
type Credentials struct {
	// User and Cluster are the declarations; Listener is the one of Cluster that the client reaches.
	User     *v1alpha1.KafkaUser
	Cluster  *v1alpha1.KafkaCluster
	Listener v1alpha1.Listener
	// Chain and Key are the user's certificate, leaf first, and its private key (PEM).
	Chain, Key []byte
	// KeyElsewhere says that somebody else holds the private key, such as an HSM: Key is empty, and there is no file that
	// would name it.
	KeyElsewhere bool
	// Source says where Chain and Key come from, for errors; default: the user's Secret.
	Source string
	// Trust are the certificates to trust for the brokers (PEM).
	Trust []byte
	// Dir is the directory of the files as the client sees it.
	Dir string
	// Now is when they are exported.
	Now time.Time
}

// Files renders the files of a client, and returns its certificate with them. What does not fit together is refused: an
// expired certificate, another key, another subject than the user's.
func (c Credentials) Files() ([]File, *x509.Certificate, error) {
	leaf, key, err := c.identity()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", cmp.Or(c.Source, fmt.Sprintf("secret %s/%s", c.User.Namespace, v1alpha1.CertificateName(c.User.Name))), err)
	}
	roots, err := certs.ParseCertificates(c.Trust)
	if err != nil {
		return nil, nil, fmt.Errorf("certificates to trust for listener %s: %w", c.Listener.Name, err)
	}
	// Only certificates pass, even where serverCA names a key that holds more.
	trust := File{v1alpha1.FileCA, 0o644, certs.EncodeCertificates(roots)}
	if c.KeyElsewhere {
		// Every configuration file names the key's file, which does not exist: the client's own configuration says where its
		// key is.
		return []File{{v1alpha1.FileCertificate, 0o644, c.Chain}, trust}, leaf, nil
	}
	dir := strings.TrimSuffix(c.Dir, "/")
	config, err := clientconfig.Render(clientconfig.Client{
		User:             c.User.Name,
		Namespace:        c.User.Namespace,
		Principal:        c.User.Status.Principal,
		Cluster:          c.Cluster.Namespace + "/" + c.Cluster.Name,
		BootstrapServers: c.Listener.BootstrapServers,
		Authentication:   c.Listener.Authentication,
		Dir:              dir,
	})
	if err != nil {
		return nil, nil, err
	}
	files := []File{
		{v1alpha1.FileCertificate, 0o644, c.Chain},
		{v1alpha1.FileKey, 0o600, key},
		trust,
		{v1alpha1.FileKeystore, 0o600, append(bytes.Clone(key), c.Chain...)},
	}
	for _, name := range []string{v1alpha1.FileJavaProperties, v1alpha1.FileLibrdkafka, v1alpha1.FileJSON} {
		files = append(files, File{name, 0o644, []byte(config[name])})
	}
	return files, leaf, nil
}

// identity checks the user's certificate and returns its leaf, and its key as PKCS#8, the form that Kafka's PEM keystore
// reads; no key where it is elsewhere.
func (c Credentials) identity() (*x509.Certificate, []byte, error) {
	if len(c.Chain) == 0 || len(c.Key) == 0 && !c.KeyElsewhere {
		return nil, nil, errors.New("has no certificate yet; try again in a moment")
	}
	leaf, key, err := c.pair()
	if err != nil {
		return nil, nil, err
	}
	name, err := subject.Parse(leaf.RawSubject)
	if err != nil {
		return nil, nil, fmt.Errorf("subject of the certificate: %w", err)
	}
	switch {
	case c.User.Status.Subject != "" && name.String() != c.User.Status.Subject:
		return nil, nil, fmt.Errorf("holds a certificate of %q, not of the user's subject %q", name, c.User.Status.Subject)
	case !c.Now.Before(leaf.NotAfter):
		return nil, nil, fmt.Errorf("the certificate expired %s ago (%s)%s", duration.HumanDuration(c.Now.Sub(leaf.NotAfter)), leaf.NotAfter.UTC().Format(time.RFC3339), c.whereToLook())
	case c.Now.Before(leaf.NotBefore):
		return nil, nil, fmt.Errorf("the certificate is valid only from %s; check this machine's clock", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return leaf, key, nil
}

// whereToLook is the advice for a certificate that cert-manager should have renewed.
func (c Credentials) whereToLook() string {
	if c.Source != "" {
		return ""
	}
	return fmt.Sprintf("; see kubectl describe certificate %s -n %s", v1alpha1.CertificateName(c.User.Name), c.User.Namespace)
}

// pair returns the leaf, and the key that belongs to it as PKCS#8.
func (c Credentials) pair() (*x509.Certificate, []byte, error) {
	if c.KeyElsewhere {
		chain, err := certs.ParseCertificates(c.Chain)
		if err != nil {
			return nil, nil, err
		}
		return chain[0], nil, nil
	}
	pair, err := tls.X509KeyPair(c.Chain, c.Key)
	if err != nil {
		// The error of crypto/tls names no key material, but nothing of it helps the caller either.
		return nil, nil, errors.New("certificate and key are unreadable or do not belong together; it may be in the middle of a renewal: try again in a moment")
	}
	key, err := encodeKey(pair.PrivateKey)
	return pair.Leaf, key, err
}

// encodeKey returns a private key as PEM, PKCS#8.
func encodeKey(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("the key is of an unknown kind")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
