// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"encoding/pem"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"k8s.io/apimachinery/pkg/types"

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
			CA:          v1alpha1.CASource{SecretRef: &v1alpha1.SecretReference{Namespace: "istio-system", Name: "istio-ca-secret"}},
			TrustDomain: "kafka.signet.dev", MaxDuration: metav1.Duration{Duration: 24 * time.Hour},
		},
	}
}

func TestDesiredCertificateGolden(t *testing.T) {
	keystores := testUser()
	keystores.Spec.Certificate = &v1alpha1.UserCertificate{Keystores: v1alpha1.KeystoreFormats()}
	for name, user := range map[string]*v1alpha1.KafkaUser{"certificate.yaml": testUser(), "certificate-keystores.yaml": keystores} {
		spec, err := DesiredCertificate(user, testCluster(), testIssuer())
		if err != nil {
			t.Fatal(err)
		}
		have, err := yaml.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
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
			t.Errorf("%s: have\n%s\nwant\n%s", name, have, want)
		}
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
	for _, td := range []string{"kafka.signet.dev", "mesh.kafka.signet.dev"} {
		cluster.Spec.MeshTrustDomain = td
		if _, err := DesiredCertificate(testUser(), cluster, issuer); err == nil || !strings.Contains(err.Error(), "trust domain") {
			t.Errorf("%s: got %v", td, err)
		}
	}
	for _, td := range []string{"signet.dev", "notkafka.signet.dev", ""} {
		cluster.Spec.MeshTrustDomain = td
		if _, err := DesiredCertificate(testUser(), cluster, issuer); err != nil {
			t.Errorf("%s: got %v", td, err)
		}
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
		"renewBefore":             func(s *cmv1.CertificateSpec) { s.RenewBefore = nil },
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

// TestRenewalIsSpread holds that 10,000 users that were created in one second never come back together: in no minute of
// their first 50 renewals are there more than bound of them, for the shortest, the default and the longest life. It also
// holds that each renewal falls between 60 and 73 per cent of a life, and that the share is used to its ends.
func TestRenewalIsSpread(t *testing.T) {
	const users = 10_000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, test := range []struct {
		life time.Duration
		// Even would be 1,282, 214 and 53 of 10,000; the bound is that and seven standard deviations.
		bound int
	}{{time.Hour, 1516}, {6 * time.Hour, 316}, {24 * time.Hour, 105}} {
		minutes := map[time.Duration]int{}
		first, last := test.life, time.Duration(0)
		for range users {
			uid := types.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", random.Uint32(), random.Uint64N(1<<48)))
			before := renewBefore(uid, test.life)
			period := test.life - before
			if before != renewBefore(uid, test.life) || before%time.Second != 0 {
				t.Fatalf("%s: %s before the end of %s", uid, before, test.life)
			}
			first, last = min(first, period), max(last, period)
			for n := range 50 {
				minutes[(time.Duration(n+1)*period).Truncate(time.Minute)]++
			}
		}
		most := 0
		for _, n := range minutes {
			most = max(most, n)
		}
		if most > test.bound {
			t.Errorf("life %s: %d renewals in one minute, more than %d", test.life, most, test.bound)
		}
		from, to := test.life/100*renewFrom, test.life/100*renewTo
		if slack := test.life / 500; first < from || first > from+slack || last >= to || last < to-slack {
			t.Errorf("life %s: renewals from %s to %s, want %s to %s", test.life, first, last, from, to)
		}
	}
}

// TestRenewBeforeIsValid holds cert-manager's own rules (at least five minutes, less than the life) for any life and UID.
func TestRenewBeforeIsValid(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 100_000 {
		life := minDuration + time.Duration(random.Int64N(int64(290*365*24*time.Hour)))
		if before := renewBefore(types.UID(strconv.FormatUint(random.Uint64(), 10)), life); before < cmv1.MinimumRenewBefore || before >= life {
			t.Fatalf("%s before the end of %s", before, life)
		}
	}
}

// TestUpdateIssuesNothing holds that the Certificates of an earlier version, which had no renewBefore, and those of a user
// that asks for keystores, are only updated: cert-manager does not find that their request no longer fits.
func TestUpdateIssuesNothing(t *testing.T) {
	user := testUser()
	user.Spec.Certificate = &v1alpha1.UserCertificate{Keystores: v1alpha1.KeystoreFormats()}
	now, err := DesiredCertificate(user, testCluster(), testIssuer())
	if err != nil {
		t.Fatal(err)
	}
	earlier := *now.DeepCopy()
	earlier.RenewBefore, earlier.Keystores = nil, nil
	template, err := pki.GenerateCSR(&cmv1.Certificate{Spec: earlier}, pki.WithUseLiteralSubject(true))
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	der, err := pki.EncodeCSR(template, key)
	if err != nil {
		t.Fatal(err)
	}
	request := &cmv1.CertificateRequest{Spec: cmv1.CertificateRequestSpec{
		Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), Duration: earlier.Duration, Usages: earlier.Usages, IssuerRef: earlier.IssuerRef,
	}}
	if different, err := pki.RequestMatchesSpec(request, now); err != nil || len(different) > 0 {
		t.Errorf("differs in %v (%v)", different, err)
	}
	start := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	end := start.Add(now.Duration.Duration)
	renewal, err := pki.RenewalTime(start.Add(-2*time.Minute), end, now.RenewBefore, nil, nil)
	if err != nil || !renewal.Time.Equal(end.Add(-now.RenewBefore.Duration)) {
		t.Errorf("renewed at %v (%v), want %s before %s", renewal, err, now.RenewBefore.Duration, end)
	}
}
