// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testUser() *v1alpha1.KafkaUser {
	return &v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", UID: "user-uid", Generation: 3},
		Spec:       v1alpha1.KafkaUserSpec{ClusterRef: v1alpha1.ClusterReference{Namespace: "kafka", Name: "kafka"}},
	}
}

func testCluster() *v1alpha1.KafkaCluster {
	return &v1alpha1.KafkaCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka"},
		Spec: v1alpha1.KafkaClusterSpec{
			Listeners:       []v1alpha1.Listener{{Name: "mtls", BootstrapServers: []string{"kafka.kafka.svc:9093"}, Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationMTLS}},
			Admin:           v1alpha1.AdminConnection{Listener: "mtls"},
			Certificates:    v1alpha1.CertificateDefaults{IssuerRef: v1alpha1.IssuerReference{Name: "mesh"}, Duration: metav1.Duration{Duration: 6 * time.Hour}, Organization: "signet"},
			MeshTrustDomain: "cluster.local",
		},
	}
}

func testIssuer() *v1alpha1.MeshIssuer {
	return &v1alpha1.MeshIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "mesh"},
		Spec: v1alpha1.MeshIssuerSpec{
			CA:          v1alpha1.CASource{SecretRef: v1alpha1.SecretReference{Namespace: "istio-system", Name: "istio-ca-secret"}},
			TrustDomain: "kafka.signet.dev", MaxDuration: metav1.Duration{Duration: 24 * time.Hour},
		},
	}
}

func TestDesiredCertificateGolden(t *testing.T) {
	spec, err := DesiredCertificate(testUser(), testCluster(), testIssuer())
	if err != nil {
		t.Fatal(err)
	}
	have, err := yaml.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "certificate.yaml")
	if *update {
		if err := os.WriteFile(path, have, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != string(want) {
		t.Errorf("have\n%s\nwant\n%s", have, want)
	}
}

func TestDesiredCertificateDuration(t *testing.T) {
	for name, test := range map[string]struct{ user, cluster, limit, want time.Duration }{
		"cluster's":         {0, 6 * time.Hour, 24 * time.Hour, 6 * time.Hour},
		"user's":            {2 * time.Hour, 6 * time.Hour, 24 * time.Hour, 2 * time.Hour},
		"cut to the limit":  {100 * time.Hour, 6 * time.Hour, 24 * time.Hour, 24 * time.Hour},
		"no defaulting":     {0, 0, 0, 6 * time.Hour},
		"never below 1 h":   {time.Minute, 6 * time.Hour, 24 * time.Hour, time.Hour},
		"default limit 24h": {48 * time.Hour, 6 * time.Hour, 0, 24 * time.Hour},
	} {
		user, cluster, issuer := testUser(), testCluster(), testIssuer()
		if test.user != 0 {
			user.Spec.Certificate = &v1alpha1.UserCertificate{Duration: &metav1.Duration{Duration: test.user}}
		}
		cluster.Spec.Certificates.Duration.Duration = test.cluster
		issuer.Spec.MaxDuration.Duration = test.limit
		spec, err := DesiredCertificate(user, cluster, issuer)
		if err != nil {
			t.Fatal(err)
		}
		if spec.Duration.Duration != test.want {
			t.Errorf("%s: %s, want %s", name, spec.Duration.Duration, test.want)
		}
	}
}

func TestDesiredCertificateRefusesTheMeshTrustDomain(t *testing.T) {
	cluster, issuer := testCluster(), testIssuer()
	cluster.Spec.MeshTrustDomain = "kafka.signet.dev"
	if _, err := DesiredCertificate(testUser(), cluster, issuer); err == nil || !strings.Contains(err.Error(), "same trust domain") {
		t.Errorf("got %v", err)
	}
}

func TestDifferingField(t *testing.T) {
	base := func() cmv1.CertificateSpec {
		spec, err := DesiredCertificate(testUser(), testCluster(), testIssuer())
		if err != nil {
			t.Fatal(err)
		}
		return spec
	}
	for want, change := range map[string]func(*cmv1.CertificateSpec){
		"":                        func(*cmv1.CertificateSpec) {},
		"dnsNames":                func(s *cmv1.CertificateSpec) { s.DNSNames = []string{"kafka.kafka.svc"} },
		"isCA":                    func(s *cmv1.CertificateSpec) { s.IsCA = true },
		"secretName":              func(s *cmv1.CertificateSpec) { s.SecretName = "elsewhere" },
		"keystores":               func(s *cmv1.CertificateSpec) { s.Keystores = &cmv1.CertificateKeystores{} },
		"duration":                func(s *cmv1.CertificateSpec) { s.Duration = &metav1.Duration{Duration: 87600 * time.Hour} },
		"privateKey":              func(s *cmv1.CertificateSpec) { s.PrivateKey.RotationPolicy = cmv1.RotationPolicyNever },
		"additionalOutputFormats": func(s *cmv1.CertificateSpec) { s.AdditionalOutputFormats = nil },
		"renewBeforePercentage":   func(s *cmv1.CertificateSpec) { p := int32(1); s.RenewBeforePercentage = &p },
	} {
		changed := base()
		change(&changed)
		if got := DifferingField(base(), changed); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if equal, dns := base(), base(); func() bool { dns.DNSNames = []string{}; return DifferingField(equal, dns) != "" }() {
		t.Error("an empty list differs from none")
	}
}
