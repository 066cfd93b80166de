// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func issuerWith(status metav1.ConditionStatus, reason string) *v1alpha1.MeshIssuer {
	issuer := testIssuer()
	issuer.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: "about the CA"}}
	return issuer
}

func certificateWith(t *testing.T, ready cmmeta.ConditionStatus, notAfter time.Time) *cmv1.Certificate {
	t.Helper()
	spec, err := DesiredCertificate(testUser(), testCluster(), testIssuer())
	if err != nil {
		t.Fatal(err)
	}
	renewal := metav1.NewTime(notAfter.Add(-2 * time.Hour))
	end := metav1.NewTime(notAfter)
	return &cmv1.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-kafka-tls", Generation: 1},
		Spec:       spec,
		Status: cmv1.CertificateStatus{
			NotAfter: &end, RenewalTime: &renewal,
			Conditions: []cmv1.CertificateCondition{{Type: cmv1.CertificateConditionReady, Status: ready, ObservedGeneration: 1}},
		},
	}
}

func requestWith(reason, message string) *cmv1.CertificateRequest {
	return &cmv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "orders-kafka-tls-1"},
		Status: cmv1.CertificateRequestStatus{Conditions: []cmv1.CertificateRequestCondition{
			{Type: cmv1.CertificateRequestConditionReady, Status: cmmeta.ConditionFalse, Reason: reason, Message: message},
		}},
	}
}

func TestAssess(t *testing.T) {
	good := issuerWith(metav1.ConditionTrue, v1alpha1.ReasonReady)
	valid := certificateWith(t, cmmeta.ConditionTrue, testNow.Add(time.Hour))
	unissued := certificateWith(t, cmmeta.ConditionFalse, testNow)
	unissued.Status.NotAfter = nil
	outdated := certificateWith(t, cmmeta.ConditionTrue, testNow.Add(time.Hour))
	outdated.Generation = 2
	for name, test := range map[string]struct {
		facts  UserFacts
		reason string
		text   string
		shown  bool
	}{
		"cluster missing":                     {UserFacts{}, v1alpha1.ReasonClusterNotFound, "kafka/kafka does not exist", false},
		"namespace not admitted":              {UserFacts{Cluster: testCluster(), Certificate: valid}, v1alpha1.ReasonNamespaceNotAllowed, "namespace shop", false},
		"issuer missing":                      {UserFacts{Cluster: testCluster(), Admitted: true}, v1alpha1.ReasonIssuerNotFound, "meshissuer mesh", false},
		"serverCA missing":                    {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Err: fmt.Errorf("x: %w", ErrCANotFound), Certificate: valid}, v1alpha1.ReasonCANotFound, "CA not found", true},
		"serverCA missing, files from before": {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Err: fmt.Errorf("x: %w", ErrCANotFound), Certificate: valid, Rendered: true}, v1alpha1.ReasonReady, "cannot be brought up to date", true},
		"CA missing, nothing issued":          {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Err: ErrCANotFound, Certificate: unissued, Rendered: true}, v1alpha1.ReasonCANotFound, "CA not found", false},
		"conflict, certificate in force":      {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Err: errConflict, Certificate: valid, Rendered: true}, v1alpha1.ReasonConflict, "conflict", true},
		"foreign object":                      {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Err: fmt.Errorf("%w: named x", errConflict)}, v1alpha1.ReasonConflict, "named x", false},
		"not to be carried out":               {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Err: fmt.Errorf("%w: x", errInvalid)}, v1alpha1.ReasonInvalid, "invalid", false},
		"just declared":                       {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good}, v1alpha1.ReasonPending, "being requested", false},
		"no request yet":                      {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: unissued}, v1alpha1.ReasonPending, "cert-manager", false},
		"request waits":                       {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: unissued, Next: requestWith("Pending", "for this")}, v1alpha1.ReasonPending, "for this", false},
		"request denied":                      {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: unissued, Next: requestWith("Denied", "no")}, v1alpha1.ReasonInvalid, "orders-kafka-tls-1: no", false},
		"issuer's CA expired":                 {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: issuerWith(metav1.ConditionFalse, v1alpha1.ReasonCAExpired), Certificate: unissued}, v1alpha1.ReasonCAExpired, "about the CA", false},
		"issuer has no status":                {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: testIssuer(), Certificate: unissued}, v1alpha1.ReasonIssuerNotReady, "mesh", false},
		"issued":                              {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: valid}, v1alpha1.ReasonReady, "valid until 2031-05-06T08:08:09Z", true},
		"issued, not renewable":               {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: issuerWith(metav1.ConditionFalse, v1alpha1.ReasonCAInvalid), Certificate: valid}, v1alpha1.ReasonReady, "cannot be renewed", true},
		"expired":                             {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: certificateWith(t, cmmeta.ConditionTrue, testNow)}, v1alpha1.ReasonPending, "cert-manager", true},
		"of an older spec":                    {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: outdated}, v1alpha1.ReasonPending, "cert-manager", true},
	} {
		t.Run(name, func(t *testing.T) {
			test.facts.User = testUser()
			c, shown := Assess(test.facts, testNow)
			if c.Reason != test.reason || !strings.Contains(c.Message, test.text) || c.ObservedGeneration != 3 {
				t.Errorf("got %+v, want %s with %q", c, test.reason, test.text)
			}
			if (c.Status == metav1.ConditionTrue) != (test.reason == v1alpha1.ReasonReady) {
				t.Errorf("status %s", c.Status)
			}
			if (shown != nil) != test.shown {
				t.Errorf("shows %+v", shown)
			}
		})
	}
}

func TestAssessShowsTheSerial(t *testing.T) {

	issued := newAuthority(t, "any", newKey(t), nil, nil).certificate
	end := issued.NotAfter
	certificate := certificateWith(t, cmmeta.ConditionTrue, end)
	facts := UserFacts{User: testUser(), Cluster: testCluster(), Admitted: true, Issuer: issuerWith(metav1.ConditionTrue, v1alpha1.ReasonReady), Certificate: certificate}
	facts.Current = &cmv1.CertificateRequest{Status: cmv1.CertificateRequestStatus{Certificate: EncodeCertificates([]*x509.Certificate{issued})}}
	_, shown := Assess(facts, testNow)
	if shown.Serial != SerialString(issued) || shown.Secret != "orders-kafka-tls" {
		t.Errorf("shows %+v", shown)
	}
	facts.User.Status.Certificate = shown
	facts.Current = nil // the request's history is short
	if _, again := Assess(facts, testNow); again.Serial != shown.Serial {
		t.Errorf("forgot the serial: %+v", again)
	}
	renewed := metav1.NewTime(end.Add(time.Hour))
	facts.Certificate.Status.NotAfter = &renewed
	if _, next := Assess(facts, testNow); next.Serial != "" {
		t.Errorf("shows the old serial for a new certificate: %+v", next)
	}
}

// userWorld is a UserController over a fake API server.
func userWorld(t *testing.T, objects ...client.Object) (*UserController, client.Client) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, cmv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.KafkaUser{}).WithObjects(objects...).Build()
	return &UserController{
		Client: c, Live: c, Named: NewNamed(func(Reference) cache.ListerWatcher { return nil }, c, c),
		Recorder: events.NewFakeRecorder(100), Now: func() time.Time { return testNow },
	}, c
}

func meshSecret(t *testing.T) *corev1.Secret {
	t.Helper()
	data, _ := istioSelfSigned(t)
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istio-ca-secret"}, Data: data}
}

func shop() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"kafka": "yes"}}}
}

func reconcileUser(t *testing.T, r *UserController) metav1.Condition {
	t.Helper()
	key := client.ObjectKey{Namespace: "shop", Name: "orders"}
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
		t.Fatal(err)
	}
	var user v1alpha1.KafkaUser
	if err := r.Client.Get(t.Context(), key, &user); err != nil {
		t.Fatal(err)
	}
	c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionCertificateReady)
	if c == nil {
		t.Fatal("no condition")
	}
	return *c
}

// made counts what exists of a KafkaUser's three objects.
func made(t *testing.T, c client.Client) int {
	t.Helper()
	n := 0
	for name, object := range map[string]client.Object{
		"orders-kafka-tls": &cmv1.Certificate{}, "orders-kafka-client": &corev1.ConfigMap{}, "orders-kafka-trust": &corev1.ConfigMap{},
	} {
		err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, object)
		if err == nil {
			n++
		} else if !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	return n
}

func TestUserControllerMakesAllOrNothing(t *testing.T) {
	for name, test := range map[string]struct {
		objects []client.Object
		reason  string
		made    int
	}{
		"everything there": {[]client.Object{testCluster(), testIssuer(), meshSecret(t)}, v1alpha1.ReasonPending, 3},
		"no cluster":       {[]client.Object{testIssuer(), meshSecret(t)}, v1alpha1.ReasonClusterNotFound, 0},
		"no issuer":        {[]client.Object{testCluster(), meshSecret(t)}, v1alpha1.ReasonIssuerNotFound, 0},
		"no CA":            {[]client.Object{testCluster(), testIssuer()}, v1alpha1.ReasonCANotFound, 0},
		"not admitted": {[]client.Object{func() *v1alpha1.KafkaCluster {
			c := testCluster()
			c.Spec.NamespaceSelector.MatchLabels = map[string]string{"kafka": "no"}
			return c
		}(), testIssuer(), meshSecret(t)}, v1alpha1.ReasonNamespaceNotAllowed, 0},
		"no principal: the template needs a service account": {[]client.Object{func() *v1alpha1.KafkaCluster {
			c := testCluster()
			c.Spec.PrincipalTemplate = "{namespace}-{serviceAccount}"
			return c
		}(), testIssuer(), meshSecret(t)}, v1alpha1.ReasonInvalid, 0},
		"somebody else's ConfigMap": {[]client.Object{testCluster(), testIssuer(), meshSecret(t), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-kafka-client"}}}, v1alpha1.ReasonConflict, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r, c := userWorld(t, append(test.objects, testUser(), shop())...)
			if got := reconcileUser(t, r); got.Reason != test.reason {
				t.Errorf("reason %s (%s), want %s", got.Reason, got.Message, test.reason)
			}
			if n := made(t, c); n != test.made {
				t.Errorf("%d objects, want %d", n, test.made)
			}
		})
	}
}

// TestClientConfigurationNamesTheTemplatesPrincipal holds that a client is told the principal that brokers will give it.
func TestClientConfigurationNamesTheTemplatesPrincipal(t *testing.T) {
	for template, want := range map[string]string{
		"":                             "User:shop.orders",
		"{namespace}-{name}":           "User:shop-orders",
		"{namespace}@{serviceAccount}": "User:shop@orders-sa",
	} {
		cluster, user := testCluster(), testUser()
		cluster.Spec.PrincipalTemplate = template
		user.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: "orders-sa"}
		r, c := userWorld(t, cluster, testIssuer(), meshSecret(t), user, shop())
		if got := reconcileUser(t, r); got.Reason != v1alpha1.ReasonPending {
			t.Errorf("%q: %s: %s", template, got.Reason, got.Message)
		}
		var config corev1.ConfigMap
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "orders-kafka-client"}, &config); err != nil {
			t.Fatal(err)
		}
		var facts struct{ Principal string }
		if err := json.Unmarshal([]byte(config.Data[v1alpha1.FileJSON]), &facts); err != nil || facts.Principal != want {
			t.Errorf("%q: kafka.json has principal %q, %v, want %q", template, facts.Principal, err, want)
		}
	}
}

func TestUserControllerRemovesAndRecovers(t *testing.T) {
	cluster := testCluster()
	r, c := userWorld(t, cluster, testIssuer(), meshSecret(t), testUser(), shop())
	reconcileUser(t, r)
	if n := made(t, c); n != 3 {
		t.Fatalf("%d objects", n)
	}
	if err := c.Delete(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	if got := reconcileUser(t, r); got.Reason != v1alpha1.ReasonClusterNotFound || made(t, c) != 0 {
		t.Errorf("%s, %d objects left", got.Reason, made(t, c))
	}
	if err := c.Create(t.Context(), testCluster()); err != nil {
		t.Fatal(err)
	}
	if reconcileUser(t, r); made(t, c) != 3 {
		t.Errorf("%d objects after the cluster came back", made(t, c))
	}
}

func TestUserControllerRestoresTheCertificate(t *testing.T) {
	r, c := userWorld(t, testCluster(), testIssuer(), meshSecret(t), testUser(), shop())
	reconcileUser(t, r)
	key := client.ObjectKey{Namespace: "shop", Name: "orders-kafka-tls"}
	var certificate cmv1.Certificate
	if err := c.Get(t.Context(), key, &certificate); err != nil {
		t.Fatal(err)
	}
	want := certificate.Spec.DeepCopy()
	certificate.Spec.DNSNames = []string{"kafka.kafka.svc"}
	certificate.Spec.SecretName = "elsewhere"
	if err := c.Update(t.Context(), &certificate); err != nil {
		t.Fatal(err)
	}
	reconcileUser(t, r)
	if err := c.Get(t.Context(), key, &certificate); err != nil {
		t.Fatal(err)
	}
	if field := DifferingField(certificate.Spec, *want); field != "" {
		t.Errorf("spec.%s was not restored", field)
	}
}

func TestServerTrust(t *testing.T) {
	own := newAuthority(t, "broker-ca", newKey(t), nil, nil)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "broker"}, Data: map[string][]byte{"ca.crt": own.pem(), "tls.key": own.pkcs8(t)}}
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "broker"}, Data: map[string]string{"roots": string(join(own.pem(), own.pem()))}}
	r, _ := userWorld(t, testIssuer(), meshSecret(t), secret, configMap)
	for name, test := range map[string]struct {
		serverCA *v1alpha1.KeyReference
		want     string
		err      error
	}{
		"default: the mesh root": {nil, "O=cluster.local", nil},
		"Secret":                 {&v1alpha1.KeyReference{Secret: "broker"}, "O=broker-ca", nil},
		"ConfigMap, each once":   {&v1alpha1.KeyReference{ConfigMap: "broker", Key: "roots"}, "O=broker-ca", nil},
		"a private key":          {&v1alpha1.KeyReference{Secret: "broker", Key: "tls.key"}, "", ErrCAInvalid},
		"key missing":            {&v1alpha1.KeyReference{ConfigMap: "broker"}, "", ErrCANotFound},
		"Secret missing":         {&v1alpha1.KeyReference{Secret: "gone"}, "", ErrCANotFound},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := testCluster()
			cluster.Spec.Listeners[0].ServerCA = test.serverCA
			text, err := ServerTrust(t.Context(), r.Named, cluster, cluster.Spec.Listeners[0])
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v, want %v", err, test.err)
			}
			if err != nil {
				return
			}
			certificates, err := ParseCertificates(text)
			if err != nil || len(certificates) != 1 || certificates[0].Subject.String() != test.want {
				t.Errorf("%d certificates, first %s (%v)", len(certificates), certificates[0].Subject, err)
			}
		})
	}
}
