// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func issuerWith(status metav1.ConditionStatus, reason string) *Issuer {
	mesh := testIssuer()
	mesh.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: "about the CA"}}
	issuer := FromMeshIssuer(mesh)
	return &issuer
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
	fresh := FromMeshIssuer(testIssuer())
	stock := FromStockIssuer(v1alpha1.IssuerReference{Kind: "ClusterIssuer", Name: "mesh-ca"}, []cmv1.IssuerCondition{{Type: cmv1.IssuerConditionReady, Status: cmmeta.ConditionFalse, Message: "about its Secret"}})
	kubelet := Delivery{By: v1alpha1.DeliveryPodCertificate, SignerName: "kafka.signet.dev/mesh"}
	both := Delivery{By: v1alpha1.DeliveryPodCertificate, SignerName: "kafka.signet.dev/mesh", Secret: true}
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
		"issuer has no status":                {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: &fresh, Certificate: unissued}, v1alpha1.ReasonIssuerNotReady, "mesh", false},
		"stock issuer not ready":              {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: &stock, Certificate: unissued}, v1alpha1.ReasonIssuerNotReady, "clusterissuer mesh-ca: about its Secret", false},
		"issued, the kubelet beside":          {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: valid, Delivery: both}, v1alpha1.ReasonReady, "the kubelet gets each pod its own", true},
		"kubelet impossible":                  {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Rendered: true, Delivery: Delivery{Problem: "no way"}}, v1alpha1.ReasonInvalid, "no way", false},
		"kubelet, files to come":              {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Delivery: kubelet}, v1alpha1.ReasonPending, "rendered", false},
		"kubelet":                             {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Rendered: true, Delivery: kubelet}, v1alpha1.ReasonReady, "signer kafka.signet.dev/mesh", false},
		"kubelet, files from before":          {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Rendered: true, Delivery: kubelet, Err: ErrCANotFound}, v1alpha1.ReasonReady, "cannot be brought up to date", false},
		"kubelet, no files":                   {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Delivery: kubelet, Err: ErrCANotFound}, v1alpha1.ReasonCANotFound, "CA not found", false},
		"kubelet, issuer not ready":           {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: issuerWith(metav1.ConditionFalse, v1alpha1.ReasonCAExpired), Rendered: true, Delivery: kubelet}, v1alpha1.ReasonCAExpired, "about the CA", false},
		"issued":                              {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: valid}, v1alpha1.ReasonReady, "valid until 2031-05-06T08:08:09Z", true},
		"issued, not renewable":               {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: issuerWith(metav1.ConditionFalse, v1alpha1.ReasonCAInvalid), Certificate: valid}, v1alpha1.ReasonReady, "cannot be renewed", true},
		"issued, not for another listener":    {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: valid, Others: ErrCANotFound}, v1alpha1.ReasonReady, "; the files for another listener cannot be brought up to date at the moment: CA not found", true},
		"kubelet, not for another listener":   {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Rendered: true, Delivery: kubelet, Others: ErrCANotFound}, v1alpha1.ReasonReady, "; the files for another listener cannot be brought up to date at the moment: CA not found", false},
		"expired":                             {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: certificateWith(t, cmmeta.ConditionTrue, testNow)}, v1alpha1.ReasonPending, "cert-manager", true},
		"of an older spec":                    {UserFacts{Cluster: testCluster(), Admitted: true, Issuer: good, Certificate: outdated}, v1alpha1.ReasonPending, "cert-manager", true},
	} {
		t.Run(name, func(t *testing.T) {
			test.facts.User = testUser()
			if test.facts.Delivery == (Delivery{}) {
				test.facts.Delivery = Delivery{By: v1alpha1.DeliverySecret, Secret: true}
			}
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
	facts.Delivery = Delivery{By: v1alpha1.DeliverySecret, Secret: true}
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
	named := NewNamed(func(Reference) cache.ListerWatcher { return nil }, c, c)
	authorities := NewAuthorities(named, c, c, "signet-system")
	setUp(t, authorities, c)
	return &UserController{
		Client: c, Live: c, Named: named, Authorities: authorities,
		Recorder: events.NewFakeRecorder(100), Now: func() time.Time { return testNow },
	}, c
}

// setUp records the CAs of the MeshIssuers whose Secret is there, as the controller of MeshIssuers does.
func setUp(t *testing.T, authorities *Authorities, c client.Client) {
	t.Helper()
	var issuers v1alpha1.MeshIssuerList
	if err := c.List(t.Context(), &issuers); err != nil {
		t.Fatal(err)
	}
	for i := range issuers.Items {
		ca, err := ReadCA(t.Context(), c, &issuers.Items[i])
		if err != nil {
			continue
		}
		_, err = authorities.Change(t.Context(), issuers.Items[i].Name, func(r Record) (Record, bool, error) {
			made, err := MakeAuthority(&issuers.Items[i], NewSource(&issuers.Items[i], ca), testNow)
			return r.Adopt(made, testNow), true, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
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
		"no CA": {[]client.Object{testCluster(), func() *v1alpha1.MeshIssuer {
			i := testIssuer()
			i.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonCANotFound}}
			return i
		}()}, v1alpha1.ReasonCANotFound, 0},
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
			text, err := r.Authorities.ServerTrust(t.Context(), cluster, cluster.Spec.Listeners[0])
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

// TestAssessSuspended holds until when certificates of a suspended user open connections, as time goes on.
func TestAssessSuspended(t *testing.T) {
	longest := 24*time.Hour + time.Minute
	at := func(d time.Duration) string { return testNow.Add(d).UTC().Format(time.RFC3339) }
	suspended := func(since time.Duration, generation int64) metav1.Condition {
		return metav1.Condition{Type: v1alpha1.ConditionCertificateReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonSuspended,
			ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(testNow.Add(since))}
	}
	pending := suspended(-time.Hour, 3)
	pending.Reason = v1alpha1.ReasonPending
	stock := FromStockIssuer(v1alpha1.IssuerReference{Kind: "Issuer", Name: "ca"}, nil)
	good := issuerWith(metav1.ConditionTrue, v1alpha1.ReasonReady)
	long := *good
	long.MaxDuration = 100 * time.Hour
	for name, test := range map[string]struct {
		issuer      *Issuer
		certificate *cmv1.Certificate
		was         []metav1.Condition
		shown       *v1alpha1.CertificateStatus
		since       time.Duration
		until       time.Duration
	}{
		"just now":                              {issuer: good, until: longest},
		"for an hour":                           {issuer: good, was: []metav1.Condition{suspended(-time.Hour, 3)}, since: -time.Hour, until: longest - time.Hour},
		"an hour ago it was pending":            {issuer: good, was: []metav1.Condition{pending}, until: longest},
		"the declaration changed since":         {issuer: good, was: []metav1.Condition{suspended(-time.Hour, 2)}, until: longest},
		"its certificate lives longer":          {issuer: good, certificate: certificateWith(t, cmmeta.ConditionTrue, testNow.Add(30*time.Hour)), until: 30 * time.Hour},
		"others may live longer than its own":   {issuer: good, certificate: certificateWith(t, cmmeta.ConditionTrue, testNow.Add(time.Hour)), until: longest},
		"an issuer with a longer limit":         {issuer: &long, until: 100*time.Hour + time.Minute},
		"the issuer is gone":                    {until: longest},
		"stock issuer, the Certificate is gone": {issuer: &stock, shown: &v1alpha1.CertificateStatus{NotAfter: &metav1.Time{Time: testNow.Add(40 * time.Hour)}}, until: 40 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			facts := UserFacts{User: testUser(), Cluster: testCluster(), Admitted: true, Issuer: test.issuer, Certificate: test.certificate, Delivery: Delivery{Secret: true}}
			facts.User.Spec.Suspend = true
			facts.User.Status.Conditions, facts.User.Status.Certificate = test.was, test.shown
			c, shown := Assess(facts, testNow)
			if c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonSuspended || !strings.Contains(c.Message, "until "+at(test.until)+" at the latest") {
				t.Errorf("%s %s: %s; want until %s", c.Status, c.Reason, c.Message, at(test.until))
			}
			if !c.LastTransitionTime.Time.Equal(testNow.Add(test.since)) {
				t.Errorf("since %s, want %s", c.LastTransitionTime, testNow.Add(test.since))
			}
			if (shown != nil) != (test.certificate != nil || test.shown != nil) {
				t.Errorf("shows %+v", shown)
			}
		})
	}
}

// change edits the user's declaration as the API server would have it.
func change(t *testing.T, c client.Client, edit func(*v1alpha1.KafkaUser)) {
	t.Helper()
	var user v1alpha1.KafkaUser
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "orders"}, &user); err != nil {
		t.Fatal(err)
	}
	edit(&user)
	user.Generation++
	if err := c.Update(t.Context(), &user); err != nil {
		t.Fatal(err)
	}
}

// TestUserControllerSuspendsAndResumes holds that a suspended user keeps its objects, that the time of its suspension
// does not move, and that nothing has to be made anew when it is resumed.
func TestUserControllerSuspendsAndResumes(t *testing.T) {
	issuer := testIssuer()
	issuer.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady}}
	r, c := userWorld(t, testCluster(), issuer, meshSecret(t), testUser(), shop())
	now := testNow
	r.Now = func() time.Time { return now }
	if got := reconcileUser(t, r); got.Reason != v1alpha1.ReasonPending {
		t.Fatalf("%s: %s", got.Reason, got.Message)
	}
	var before cmv1.Certificate
	key := client.ObjectKey{Namespace: "shop", Name: "orders-kafka-tls"}
	if err := c.Get(t.Context(), key, &before); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	change(t, c, func(u *v1alpha1.KafkaUser) { u.Spec.Suspend = true })
	suspended := reconcileUser(t, r)
	// The condition was False before, too; the time in it is that of the suspension nevertheless.
	if suspended.Reason != v1alpha1.ReasonSuspended || !suspended.LastTransitionTime.Time.Equal(now) {
		t.Errorf("%s since %s: %s", suspended.Reason, suspended.LastTransitionTime, suspended.Message)
	}
	now = now.Add(time.Hour)
	if again := reconcileUser(t, r); again != suspended {
		t.Errorf("an hour later: %+v, want %+v", again, suspended)
	}
	change(t, c, func(u *v1alpha1.KafkaUser) { u.Spec.Suspend = false })
	if got := reconcileUser(t, r); got.Reason != v1alpha1.ReasonPending {
		t.Errorf("resumed: %s: %s", got.Reason, got.Message)
	}
	var after cmv1.Certificate
	if err := c.Get(t.Context(), key, &after); err != nil || after.ResourceVersion != before.ResourceVersion || made(t, c) != 3 {
		t.Errorf("certificate of version %s became %s (%v), %d objects", before.ResourceVersion, after.ResourceVersion, err, made(t, c))
	}
	events := r.Recorder.(*events.FakeRecorder).Events
	for found := false; !found; {
		select {
		case e := <-events:
			found = strings.HasPrefix(e, "Normal Suspended")
		default:
			t.Fatal("no event")
		}
	}
}

// TestUserControllerEndsRenewalsOfDeleted holds that a KafkaUser whose deletion waits for Kafka has no Certificate any more,
// and keeps its files for the pods that still run.
func TestUserControllerEndsRenewalsOfDeleted(t *testing.T) {
	user := testUser()
	user.Finalizers = []string{"kafka.signet.dev/access"}
	r, c := userWorld(t, testCluster(), testIssuer(), meshSecret(t), user, shop())
	reconcileUser(t, r)
	if err := c.Delete(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	reconcileUser(t, r)
	err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "orders-kafka-tls"}, &cmv1.Certificate{})
	if !apierrors.IsNotFound(err) || made(t, c) != 2 {
		t.Errorf("certificate: %v; %d objects", err, made(t, c))
	}
}

// TestUserControllerStockIssuers holds what becomes of a user of each kind of cert-manager's own issuers.
func TestUserControllerStockIssuers(t *testing.T) {
	ready := cmv1.IssuerStatus{Conditions: []cmv1.IssuerCondition{{Type: cmv1.IssuerConditionReady, Status: cmmeta.ConditionTrue}}}
	issuer := &cmv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "ca"}, Status: ready}
	elsewhere := &cmv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "ca"}, Status: ready}
	clusterIssuer := &cmv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "ca"}}
	reference := func(kind string) *v1alpha1.IssuerReference {
		return &v1alpha1.IssuerReference{Kind: kind, Group: "cert-manager.io", Name: "ca"}
	}
	for name, test := range map[string]struct {
		cluster, user *v1alpha1.IssuerReference
		objects       []client.Object
		reason, text  string
		want          string
	}{
		"Issuer of the cluster":                    {cluster: reference("Issuer"), objects: []client.Object{issuer}, reason: v1alpha1.ReasonPending, want: "cert-manager.io Issuer ca"},
		"Issuer of another namespace":              {cluster: reference("Issuer"), objects: []client.Object{elsewhere}, reason: v1alpha1.ReasonIssuerNotFound, text: "issuer ca does not exist"},
		"ClusterIssuer, which is not ready":        {cluster: reference("ClusterIssuer"), objects: []client.Object{clusterIssuer}, reason: v1alpha1.ReasonIssuerNotReady, text: "clusterissuer ca is not ready yet", want: "cert-manager.io ClusterIssuer ca"},
		"ClusterIssuer of the user":                {user: reference("ClusterIssuer"), objects: []client.Object{clusterIssuer, testIssuer()}, reason: v1alpha1.ReasonIssuerNotReady, want: "cert-manager.io ClusterIssuer ca"},
		"a MeshIssuer of that name is another one": {user: reference("ClusterIssuer"), objects: []client.Object{issuer, testIssuer()}, reason: v1alpha1.ReasonIssuerNotFound, text: "clusterissuer ca does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, user := testCluster(), testUser()
			cluster.Spec.Listeners[0].ServerCA = &v1alpha1.KeyReference{ConfigMap: "broker"}
			if test.cluster != nil {
				cluster.Spec.Certificates.IssuerRef = *test.cluster
			}
			if test.user != nil {
				user.Spec.Certificate = &v1alpha1.UserCertificate{IssuerRef: test.user}
			}
			broker := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "broker"}, Data: map[string]string{"ca.crt": string(newAuthority(t, "broker-ca", newKey(t), nil, nil).pem())}}
			r, c := userWorld(t, append(test.objects, cluster, user, broker, shop())...)
			r.PodCertificates = true // no obstacle, but these issuers do not answer the kubelet
			r.kubelets.observe("node", "v1.37.1")
			// The first pass makes the Certificate, the second looks at it.
			reconcileUser(t, r)
			if got := reconcileUser(t, r); got.Reason != test.reason || !strings.Contains(got.Message, test.text) {
				t.Errorf("%s: %s", got.Reason, got.Message)
			}
			key := client.ObjectKey{Namespace: "shop", Name: "orders-kafka-tls"}
			var certificate cmv1.Certificate
			err := c.Get(t.Context(), key, &certificate)
			if test.want == "" {
				if err == nil {
					t.Errorf("made %+v", certificate.Spec)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if ref := certificate.Spec.IssuerRef; ref.Group+" "+ref.Kind+" "+ref.Name != test.want || certificate.Spec.URIs[0] != "spiffe://kafka.signet.dev/user/shop/orders" {
				t.Errorf("issuerRef %+v, uris %v", ref, certificate.Spec.URIs)
			}
			// Nobody else stops a stock issuer: its Certificate goes while the user is suspended, and nothing else does,
			// whether or not all else is in order.
			change(t, c, func(u *v1alpha1.KafkaUser) { u.Spec.Suspend = true })
			if err := c.Delete(t.Context(), broker); err != nil {
				t.Fatal(err)
			}
			if got := reconcileUser(t, r); got.Reason != v1alpha1.ReasonSuspended || made(t, c) != 2 {
				t.Errorf("%s: %s; %d objects", got.Reason, got.Message, made(t, c))
			}
			broker.ResourceVersion = ""
			if err := c.Create(t.Context(), broker); err != nil {
				t.Fatal(err)
			}
			change(t, c, func(u *v1alpha1.KafkaUser) { u.Spec.Suspend = false })
			if reconcileUser(t, r); made(t, c) != 3 {
				t.Errorf("resumed: %d objects", made(t, c))
			}
			for _, issuer := range test.objects {
				if err := c.Delete(t.Context(), issuer); err != nil {
					t.Fatal(err)
				}
			}
			change(t, c, func(u *v1alpha1.KafkaUser) { u.Spec.Suspend = true })
			if got := reconcileUser(t, r); got.Reason != v1alpha1.ReasonSuspended || made(t, c) != 2 {
				t.Errorf("without its issuer: %s: %s; %d objects", got.Reason, got.Message, made(t, c))
			}
		})
	}
}

// TestUserControllerFilesForEachListener holds which files a user's ConfigMaps have while the listeners of its cluster and
// the keystores that it asks for come and go, and that a fault of another listener leaves all else alone.
func TestUserControllerFilesForEachListener(t *testing.T) {
	issuer := testIssuer()
	issuer.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady}}
	own := newAuthority(t, "broker-ca", newKey(t), nil, nil)
	brokerCA := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "broker"}, Data: map[string]string{"ca.crt": string(own.pem())}}
	r, c := userWorld(t, testCluster(), issuer, meshSecret(t), brokerCA, testUser(), shop())
	listeners := func(change func([]v1alpha1.Listener) []v1alpha1.Listener) {
		var cluster v1alpha1.KafkaCluster
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "kafka", Name: "kafka"}, &cluster); err != nil {
			t.Fatal(err)
		}
		cluster.Spec.Listeners = change(cluster.Spec.Listeners)
		if err := c.Update(t.Context(), &cluster); err != nil {
			t.Fatal(err)
		}
	}
	external := v1alpha1.Listener{
		Name: "external", BootstrapServers: []string{"kafka.example.com:9094"}, Scope: v1alpha1.ScopeExternal, Authentication: v1alpha1.AuthenticationMTLS,
		ServerCA: &v1alpha1.KeyReference{ConfigMap: "broker", Key: "ca.crt"},
	}
	keystores := func(formats ...v1alpha1.KeystoreFormat) {
		change(t, c, func(u *v1alpha1.KafkaUser) { u.Spec.Certificate = &v1alpha1.UserCertificate{Keystores: formats} })
	}
	const plain, outside = "bootstrap.servers client.properties kafka.json librdkafka.conf security.protocol", "client-external.properties kafka-external.json librdkafka-external.conf"
	for _, step := range []struct {
		name  string
		do    func()
		files string
		trust string
		// of the external listener's configuration and trust
		server, ca string
		formats    string
		message    string
	}{
		{"one listener", func() {}, plain, "ca.crt", "", "", "", ""},
		{"another one", func() {
			listeners(func(l []v1alpha1.Listener) []v1alpha1.Listener { return append(l, external) })
		}, plain + " " + outside, "ca-external.crt ca.crt", "kafka.example.com:9094", string(own.pem()), "", ""},
		{"its address changes", func() {
			listeners(func(l []v1alpha1.Listener) []v1alpha1.Listener {
				l[1].BootstrapServers = []string{"kafka.example.org:9094"}
				return l
			})
		}, plain + " " + outside, "ca-external.crt ca.crt", "kafka.example.org:9094", string(own.pem()), "", ""},
		{"its address changes again, and its serverCA is not there", func() {
			listeners(func(l []v1alpha1.Listener) []v1alpha1.Listener {
				l[0].BootstrapServers = []string{"kafka-1.kafka.svc:9093"}
				l[1].BootstrapServers, l[1].ServerCA = []string{"kafka.example.net:9094"}, &v1alpha1.KeyReference{ConfigMap: "gone"}
				return l
			})
		}, plain + " " + outside, "ca-external.crt ca.crt", "kafka.example.org:9094", string(own.pem()), "", "serverCA of listener external"},
		{"a keystore, which those do not have yet", func() { keystores(v1alpha1.KeystoreJKS) },
			plain + " client-jks.properties " + outside, "ca-external.crt ca.crt", "kafka.example.org:9094", string(own.pem()), "JKS", "serverCA of listener external"},
		{"all is well again", func() {
			listeners(func(l []v1alpha1.Listener) []v1alpha1.Listener { l[1].ServerCA = external.ServerCA; return l })
		}, plain + " client-jks.properties client-jks-external.properties " + outside, "ca-external.crt ca.crt", "kafka.example.net:9094", string(own.pem()), "JKS", ""},
		{"the other keystore", func() { keystores(v1alpha1.KeystorePKCS12) },
			plain + " client-pkcs12.properties client-pkcs12-external.properties " + outside, "ca-external.crt ca.crt", "kafka.example.net:9094", string(own.pem()), "PKCS12", ""},
		{"only the external listener", func() {
			listeners(func(l []v1alpha1.Listener) []v1alpha1.Listener { return l[1:] })
		}, plain + " client-pkcs12.properties client-pkcs12-external.properties " + outside, "ca-external.crt ca.crt", "kafka.example.net:9094", string(own.pem()), "PKCS12", ""},
		{"one for the mesh", func() {
			listeners(func(l []v1alpha1.Listener) []v1alpha1.Listener {
				return append(l, v1alpha1.Listener{Name: "mesh", BootstrapServers: []string{"kafka.kafka.svc:9095"}, Scope: v1alpha1.ScopeMesh, Authentication: v1alpha1.AuthenticationMesh})
			})
		}, plain + " client-pkcs12.properties client-pkcs12-external.properties client-mesh.properties kafka-mesh.json librdkafka-mesh.conf mesh.bootstrap.servers mesh.security.protocol " + outside,
			"ca-external.crt ca.crt", "kafka.example.net:9094", string(own.pem()), "PKCS12", ""},
		{"only the one for pods, and no keystore", func() {
			keystores()
			listeners(func([]v1alpha1.Listener) []v1alpha1.Listener { return testCluster().Spec.Listeners })
		}, plain, "ca.crt", "", "", "", ""},
	} {
		step.do()
		condition := reconcileUser(t, r)
		if condition.Status == metav1.ConditionFalse {
			// cert-manager issues; from then on the condition has more to say.
			var issued cmv1.Certificate
			key := client.ObjectKey{Namespace: "shop", Name: "orders-kafka-tls"}
			if err := c.Get(t.Context(), key, &issued); err != nil {
				t.Fatal(err)
			}
			issued.Status = certificateWith(t, cmmeta.ConditionTrue, testNow.Add(time.Hour)).Status
			for i := range issued.Status.Conditions {
				issued.Status.Conditions[i].ObservedGeneration = issued.Generation
			}
			if err := c.Update(t.Context(), &issued); err != nil {
				t.Fatal(err)
			}
			condition = reconcileUser(t, r)
		}
		if condition.Status != metav1.ConditionTrue || strings.Contains(condition.Message, "another listener") != (step.message != "") || !strings.Contains(condition.Message, step.message) {
			t.Errorf("%s: %s %s: %s", step.name, condition.Status, condition.Reason, condition.Message)
		}
		var config, trust corev1.ConfigMap
		var certificate cmv1.Certificate
		for name, into := range map[string]client.Object{"orders-kafka-client": &config, "orders-kafka-trust": &trust, "orders-kafka-tls": &certificate} {
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, into); err != nil {
				t.Fatal(err)
			}
		}
		want := strings.Fields(step.files)
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(config.Data)); !slices.Equal(got, want) {
			t.Errorf("%s: files %q, want %q", step.name, got, want)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(trust.Data)), " "); got != step.trust {
			t.Errorf("%s: trust %q, want %q", step.name, got, step.trust)
		}
		if got := config.Data["client-external.properties"]; (got == "") != (step.server == "") || !strings.Contains(got, "bootstrap.servers="+step.server) && step.server != "" {
			t.Errorf("%s: client-external.properties, want %s:\n%s", step.name, step.server, got)
		}
		if got := trust.Data["ca-external.crt"]; got != step.ca {
			t.Errorf("%s: ca-external.crt:\n%s", step.name, got)
		}
		var formats []string
		if k := certificate.Spec.Keystores; k != nil && k.PKCS12 != nil {
			formats = append(formats, "PKCS12")
		}
		if k := certificate.Spec.Keystores; k != nil && k.JKS != nil {
			formats = append(formats, "JKS")
		}
		if got := strings.Join(formats, " "); got != step.formats {
			t.Errorf("%s: the Certificate has keystores %q, want %q", step.name, got, step.formats)
		}
	}
}

// TestUserControllerDelivery holds what a user's status says and which objects it has as the cluster and the declaration
// change.
func TestUserControllerDelivery(t *testing.T) {
	issuer := testIssuer()
	issuer.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady}}
	r, c := userWorld(t, testCluster(), issuer, meshSecret(t), testUser(), shop())
	r.PodCertificates = true
	declare := func(d v1alpha1.Delivery) {
		change(t, c, func(u *v1alpha1.KafkaUser) { u.Spec.Certificate = &v1alpha1.UserCertificate{Delivery: d} })
	}
	for _, step := range []struct {
		name    string
		do      func()
		by      v1alpha1.Delivery
		signer  string
		objects int
		reason  string
	}{
		{"no node", func() {}, v1alpha1.DeliverySecret, "", 3, v1alpha1.ReasonPending},
		{"a new node", func() { r.kubelets.observe("a", "v1.37.1") }, v1alpha1.DeliveryPodCertificate, "kafka.signet.dev/mesh", 3, v1alpha1.ReasonPending},
		{"an old node", func() { r.kubelets.observe("b", "v1.36.4") }, v1alpha1.DeliverySecret, "", 3, v1alpha1.ReasonPending},
		{"only the kubelet, and it cannot", func() { declare(v1alpha1.DeliveryPodCertificate) }, "", "", 2, v1alpha1.ReasonInvalid},
		{"the old node is gone", func() { r.kubelets.forget("b") }, v1alpha1.DeliveryPodCertificate, "kafka.signet.dev/mesh", 2, v1alpha1.ReasonReady},
		{"by Secret", func() { declare(v1alpha1.DeliverySecret) }, v1alpha1.DeliverySecret, "", 3, v1alpha1.ReasonPending},
		{"automatic", func() { declare(v1alpha1.DeliveryAuto) }, v1alpha1.DeliveryPodCertificate, "kafka.signet.dev/mesh", 3, v1alpha1.ReasonPending},
	} {
		step.do()
		got := reconcileUser(t, r)
		var user v1alpha1.KafkaUser
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "orders"}, &user); err != nil {
			t.Fatal(err)
		}
		if got.Reason != step.reason || user.Status.Delivery != step.by || user.Status.SignerName != step.signer || made(t, c) != step.objects {
			t.Errorf("%s: %s (%s), delivery %q, signer %q, %d objects; want %+v", step.name, got.Reason, got.Message, user.Status.Delivery, user.Status.SignerName, made(t, c), step)
		}
	}
}

// TestWhoIsLookedAtAgain holds whom a change of an issuer of cert-manager's own and of a node concerns.
func TestWhoIsLookedAtAgain(t *testing.T) {
	named := func(namespace, name string, certificate *v1alpha1.UserCertificate) *v1alpha1.KafkaUser {
		u := testUser()
		u.Namespace, u.Name, u.UID, u.Spec.Certificate = namespace, name, "", certificate
		return u
	}
	reference := func(kind, name string) *v1alpha1.UserCertificate {
		return &v1alpha1.UserCertificate{IssuerRef: &v1alpha1.IssuerReference{Kind: kind, Group: "cert-manager.io", Name: name}}
	}
	stranded := named("shop", "stranded", nil)
	stranded.Spec.ClusterRef.Name = "none"
	cluster := testCluster()
	cluster.Spec.Certificates.IssuerRef = v1alpha1.IssuerReference{Kind: "Issuer", Group: "cert-manager.io", Name: "ca"}
	r, _ := userWorld(t, cluster, stranded, named("shop", "default", nil), named("bank", "default", nil), named("shop", "other", reference("Issuer", "other")),
		named("shop", "cluster-wide", reference("ClusterIssuer", "ca")), named("bank", "kubelet", &v1alpha1.UserCertificate{Delivery: v1alpha1.DeliveryPodCertificate}))
	r.PodCertificates = true
	names := func(requests []ctrl.Request) string {
		var all []string
		for _, request := range requests {
			all = append(all, request.String())
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	wantNames := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	key := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	wantNames("issuer shop/ca", names(r.usersOfStockIssuer("Issuer")(t.Context(), &cmv1.Issuer{ObjectMeta: key("shop", "ca")})), "shop/default")
	wantNames("issuer shop/other", names(r.usersOfStockIssuer("Issuer")(t.Context(), &cmv1.Issuer{ObjectMeta: key("shop", "other")})), "shop/other")
	wantNames("clusterissuer ca", names(r.usersOfStockIssuer("ClusterIssuer")(t.Context(), &cmv1.ClusterIssuer{ObjectMeta: key("", "ca")})), "shop/cluster-wide")
	wantNames("meshissuer ca", names(r.usersOfIssuer(t.Context(), &v1alpha1.MeshIssuer{ObjectMeta: key("", "ca")})), "")

	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[ctrl.Request]())
	defer queue.ShutDown()
	queued := func() string {
		var all []ctrl.Request
		for queue.Len() > 0 {
			request, _ := queue.Get()
			queue.Done(request)
			all = append(all, request)
		}
		return names(all)
	}
	const everybody = "bank/default bank/kubelet shop/cluster-wide shop/default shop/other shop/stranded"
	node := func(name, version string) *corev1.Node {
		return &corev1.Node{ObjectMeta: key("", name), Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: version}}}
	}
	nodes := r.nodeHandler()
	nodes.Create(t.Context(), event.CreateEvent{Object: node("b", "v1.37.0")}, queue)
	wantNames("the first node", queued(), everybody)
	nodes.Update(t.Context(), event.UpdateEvent{ObjectOld: node("b", "v1.37.0"), ObjectNew: node("b", "v1.37.0")}, queue)
	wantNames("a heartbeat", queued(), "")
	nodes.Create(t.Context(), event.CreateEvent{Object: node("c", "v1.36.0")}, queue)
	wantNames("an old node", queued(), everybody)
	nodes.Create(t.Context(), event.CreateEvent{Object: node("a", "v1.36.0")}, queue)
	wantNames("another old node, which is named first", queued(), "bank/kubelet")
	nodes.Delete(t.Context(), event.DeleteEvent{Object: node("c", "v1.36.0")}, queue)
	wantNames("an old node is gone, one is left", queued(), "")
	nodes.Update(t.Context(), event.UpdateEvent{ObjectOld: node("a", "v1.36.0"), ObjectNew: node("a", "v1.37.1")}, queue)
	wantNames("the last old node is upgraded", queued(), everybody)
}
