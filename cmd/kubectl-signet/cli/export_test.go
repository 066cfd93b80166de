// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// identity is a self-signed certificate of a subject in RFC 2253's reverse order, and its key in the form given.
func identity(t *testing.T, names []string, notBefore, notAfter time.Time, pkcs8 bool) (chain, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: names[0], OrganizationalUnit: names[1:2], Organization: names[2:3]},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	kind, marshal := "EC PRIVATE KEY", func() ([]byte, error) { return x509.MarshalECPrivateKey(private) }
	if pkcs8 {
		kind, marshal = "PRIVATE KEY", func() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(private) }
	}
	keyDER, err := marshal()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: keyDER})
}

var ordersNames = []string{"orders", "shop", "signet"}

func listeners() []v1alpha1.Listener {
	return []v1alpha1.Listener{
		{Name: "inside", Scope: v1alpha1.ScopeCluster, Authentication: v1alpha1.AuthenticationMTLS, BootstrapServers: []string{"kafka.kafka.svc:9093"}},
		{Name: "outside", Scope: v1alpha1.ScopeExternal, Authentication: v1alpha1.AuthenticationMTLS, BootstrapServers: []string{"kafka.example.com:9094", "kafka2.example.com:9094"}},
		{Name: "plain", Scope: v1alpha1.ScopeExternal, Authentication: v1alpha1.AuthenticationNone, BootstrapServers: []string{"kafka.example.com:9092"}},
	}
}

// world is a cluster in which orders can be exported.
func world(t *testing.T) (*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster, *corev1.Secret, *corev1.ConfigMap) {
	t.Helper()
	var user *v1alpha1.KafkaUser
	var cluster *v1alpha1.KafkaCluster
	for _, o := range load(t, "ready.in.yaml") {
		switch o := o.(type) {
		case *v1alpha1.KafkaUser:
			user = o
		case *v1alpha1.KafkaCluster:
			cluster = o
		}
	}
	user.Status.Subject = "CN=orders,OU=shop,O=signet"
	cluster.Spec.Listeners = listeners()
	chain, key := identity(t, ordersNames, noon.Add(-time.Hour), noon.Add(5*time.Hour), true)
	root, _ := identity(t, []string{"", "", "cluster.local"}, noon.Add(-time.Hour), noon.Add(1000*time.Hour), true)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-kafka-tls"},
		Data:       map[string][]byte{"tls.crt": chain, "tls.key": key, "ca.crt": root},
	}
	bundle := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-kafka-trust"},
		Data:       map[string]string{"ca.crt": "# kept by Signet\n" + string(root)},
	}
	return user, cluster, secret, bundle
}

func TestExportedFiles(t *testing.T) {
	user, cluster, secret, bundle := world(t)
	c := deny(t, []client.Object{user, cluster, secret, bundle}, nothing)
	credentials, warnings, err := fetch(t.Context(), c, client.ObjectKeyFromObject(user), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 0 {
		t.Errorf("warnings: %q", warnings)
	}
	credentials.Dir, credentials.Now = "/home/dev/orders/", noon
	files, leaf, err := credentials.Files()
	if err != nil {
		t.Fatal(err)
	}
	if !leaf.NotAfter.Equal(noon.Add(5 * time.Hour)) {
		t.Errorf("expires %s", leaf.NotAfter)
	}
	byName := map[string]File{}
	for _, f := range files {
		byName[f.Name] = f
		want := fs.FileMode(0o644)
		if bytes.Contains(f.Data, []byte("PRIVATE KEY")) {
			want = 0o600
		}
		if f.Mode != want {
			t.Errorf("%s has mode %o, want %o", f.Name, f.Mode, want)
		}
	}
	for _, name := range []string{"client.properties", "librdkafka.conf", "kafka.json"} {
		golden(t, name, byName[name].Data)
	}
	if _, err := tls.X509KeyPair(byName["keystore.pem"].Data, byName["keystore.pem"].Data); err != nil {
		t.Errorf("keystore.pem: %v", err)
	}
	if got := string(byName["ca.crt"].Data); !strings.HasPrefix(got, "-----BEGIN CERTIFICATE-----\n") || strings.Count(got, "BEGIN") != 1 {
		t.Errorf("ca.crt: %s", got)
	}
	var parsed map[string]any
	if err := json.Unmarshal(byName["kafka.json"].Data, &parsed); err != nil || parsed["principal"] != "User:shop.orders" {
		t.Errorf("kafka.json: %v, %v", parsed, err)
	}
}

func nothing(string, runtime.Object, client.ObjectKey) bool { return false }

func TestKeyIsWrittenAsPKCS8(t *testing.T) {
	user, cluster, _, _ := world(t)
	chain, key := identity(t, ordersNames, noon.Add(-time.Hour), noon.Add(time.Hour), false)
	files, _, err := Credentials{User: user, Cluster: cluster, Listener: listeners()[1], Chain: chain, Key: key, Trust: chain, Dir: "/d", Now: noon}.Files()
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(files[1].Data); files[1].Name != "tls.key" || block.Type != "PRIVATE KEY" {
		t.Errorf("%s is a %s, which Kafka's PEM keystore does not read", files[1].Name, block.Type)
	}
}

func TestFilesRefuse(t *testing.T) {
	user, cluster, _, _ := world(t)
	chain, key := identity(t, ordersNames, noon.Add(-time.Hour), noon.Add(time.Hour), true)
	_, otherKey := identity(t, ordersNames, noon.Add(-time.Hour), noon.Add(time.Hour), true)
	expired, expiredKey := identity(t, ordersNames, noon.Add(-2*time.Hour), noon.Add(-time.Hour), true)
	future, futureKey := identity(t, ordersNames, noon.Add(time.Hour), noon.Add(2*time.Hour), true)
	stranger, strangerKey := identity(t, []string{"admin", "kafka", "signet"}, noon.Add(-time.Hour), noon.Add(time.Hour), true)
	for name, tc := range map[string]struct {
		chain, key, trust []byte
		dir, want         string
	}{
		"an empty Secret":           {nil, nil, chain, "/d", "no certificate yet"},
		"a key of another pair":     {chain, otherKey, chain, "/d", "do not belong together"},
		"an expired certificate":    {expired, expiredKey, chain, "/d", "expired 60m ago (2026-01-01T11:00:00Z)"},
		"a certificate of tomorrow": {future, futureKey, chain, "/d", "check this machine's clock"},
		"somebody else's":           {stranger, strangerKey, chain, "/d", `holds a certificate of "CN=admin,OU=kafka,O=signet"`},
		"trust in nothing":          {chain, key, nil, "/d", "certificates to trust for listener outside"},
		"a private key to trust":    {chain, key, key, "/d", "certificates to trust for listener outside"},
		"a path with a line break":  {chain, key, chain, "/d\nsasl.jaas.config=x", "directory"},
	} {
		t.Run(name, func(t *testing.T) {
			files, _, err := Credentials{User: user, Cluster: cluster, Listener: listeners()[1], Chain: tc.chain, Key: tc.key, Trust: tc.trust, Dir: tc.dir, Now: noon}.Files()
			if err == nil {
				t.Fatalf("exported %d files", len(files))
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
			if body := tc.key[min(100, len(tc.key)):min(120, len(tc.key))]; len(body) > 0 && strings.Contains(err.Error(), string(body)) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestSelectListener(t *testing.T) {
	all := listeners()
	for name, tc := range map[string]struct {
		listeners []v1alpha1.Listener
		name      string
		want, err string
	}{
		"the external one":           {all, "", "outside", ""},
		"by name":                    {all, "inside", "inside", ""},
		"no external one":            {all[:1], "", "", "has no listener with scope External; it has inside (scope Cluster)"},
		"unknown name":               {all, "outsid", "", "has no listener outsid; it has inside (scope Cluster), outside (scope External), plain (scope External)"},
		"one without authentication": {all, "plain", "", "listener plain identifies nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := SelectListener(&v1alpha1.KafkaCluster{Spec: v1alpha1.KafkaClusterSpec{Listeners: tc.listeners}}, tc.name)
			if got.Name != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %q, %v", got.Name, err)
			}
		})
	}
}

func TestTrustSources(t *testing.T) {
	a, b := &v1alpha1.KeyReference{Secret: "a", Key: "ca.crt"}, &v1alpha1.KeyReference{ConfigMap: "a", Key: "ca.crt"}
	for name, tc := range map[string]struct {
		inside, outside *v1alpha1.KeyReference
		want            []TrustSource
	}{
		"both the issuer's":     {nil, nil, []TrustSource{TrustBundle, TrustIssuer}},
		"both the same":         {a, a.DeepCopy(), []TrustSource{TrustServerCA, TrustBundle}},
		"different":             {a, b, []TrustSource{TrustServerCA, TrustBundle}},
		"only the outside's":    {nil, b, []TrustSource{TrustServerCA, TrustBundle}},
		"only the inside's":     {a, nil, []TrustSource{TrustBundle, TrustIssuer}},
		"of different key only": {a, &v1alpha1.KeyReference{Secret: "a", Key: "other"}, []TrustSource{TrustServerCA, TrustBundle}},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := &v1alpha1.KafkaCluster{Spec: v1alpha1.KafkaClusterSpec{Listeners: listeners()}}
			cluster.Spec.Listeners[0].ServerCA, cluster.Spec.Listeners[1].ServerCA = tc.inside, tc.outside
			if got := TrustSources(cluster, cluster.Spec.Listeners[1]); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	// A listener that KafkaUsers have no files for, with a serverCA of its own.
	cluster := &v1alpha1.KafkaCluster{Spec: v1alpha1.KafkaClusterSpec{Listeners: listeners()}}
	third := cluster.Spec.Listeners[0]
	third.Name, third.ServerCA = "third", a
	cluster.Spec.Listeners = append(cluster.Spec.Listeners, third)
	if got := TrustSources(cluster, third); !slices.Equal(got, []TrustSource{TrustServerCA}) {
		t.Errorf("a third listener: %v", got)
	}
}

func TestFetchRefuses(t *testing.T) {
	secretOf := func(namespace, name string) func(string, runtime.Object, client.ObjectKey) bool {
		return func(_ string, o runtime.Object, key client.ObjectKey) bool {
			_, isSecret := o.(*corev1.Secret)
			return isSecret && key.Namespace == namespace && key.Name == name
		}
	}
	for name, tc := range map[string]struct {
		change func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster)
		user   string
		denied func(string, runtime.Object, client.ObjectKey) bool
		want   []string
	}{
		"an unknown user": {user: "order", want: []string{"kafkauser shop/order does not exist", "kubectl get kafkausers -n shop"}},
		"a user without certificate": {change: func(u *v1alpha1.KafkaUser, _ *v1alpha1.KafkaCluster) {
			u.Status.Conditions[1].Status, u.Status.Conditions[1].Reason, u.Status.Conditions[1].Message = metav1.ConditionFalse, "CAExpired", "the CA expired"
		}, want: []string{"no certificate to export: CAExpired: the CA expired"}},
		"a user whose keys never leave their nodes": {change: func(u *v1alpha1.KafkaUser, _ *v1alpha1.KafkaCluster) {
			u.Spec.Certificate = &v1alpha1.UserCertificate{Delivery: v1alpha1.DeliveryPodCertificate}
		}, want: []string{"kubectl signet sign orders -n shop --dir DIR"}},
		"a user just changed": {change: func(u *v1alpha1.KafkaUser, _ *v1alpha1.KafkaCluster) { u.Generation++ }, want: []string{"has not seen the latest change yet"}},
		"an unknown cluster":  {change: func(_ *v1alpha1.KafkaUser, c *v1alpha1.KafkaCluster) { c.Name = "other" }, want: []string{"kafkacluster kafka/kafka does not exist"}},
		"the right to read the Secret": {denied: secretOf("shop", "orders-kafka-tls"), want: []string{
			"you may not read secret shop/orders-kafka-tls",
			"--verb=get --resource=secrets --resource-name=orders-kafka-tls", "-n shop",
		}},
		"the right to read the cluster": {denied: func(_ string, o runtime.Object, _ client.ObjectKey) bool {
			_, is := o.(*v1alpha1.KafkaCluster)
			return is
		}, want: []string{"you may not read kafkacluster kafka/kafka", "--resource=kafkaclusters.kafka.signet.dev"}},
		"the right to read a serverCA that is the external listener's alone": {change: func(_ *v1alpha1.KafkaUser, c *v1alpha1.KafkaCluster) {
			c.Spec.Listeners[1].ServerCA = &v1alpha1.KeyReference{Secret: "broker-ca"}
		}, denied: secretOf("kafka", "broker-ca"), want: []string{"you may not read secret kafka/broker-ca"}},
		"a serverCA that does not exist": {change: func(_ *v1alpha1.KafkaUser, c *v1alpha1.KafkaCluster) {
			c.Spec.Listeners[1].ServerCA = &v1alpha1.KeyReference{ConfigMap: "broker-ca"}
		}, want: []string{"configmap kafka/broker-ca does not exist"}},
	} {
		t.Run(name, func(t *testing.T) {
			user, cluster, secret, bundle := world(t)
			key := client.ObjectKeyFromObject(user)
			if tc.user != "" {
				key.Name = tc.user
			}
			if tc.change != nil {
				tc.change(user, cluster)
			}
			if tc.denied == nil {
				tc.denied = nothing
			}
			_, _, err := fetch(t.Context(), deny(t, []client.Object{user, cluster, secret, bundle}, tc.denied), key, "")
			if err == nil {
				t.Fatal("fetched")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestTrustBundleStandsInForAServerCAThatMayNotBeRead(t *testing.T) {
	for name, tc := range map[string]struct {
		inside *v1alpha1.KeyReference
		key    string
	}{
		"that of the pods' listener too": {&v1alpha1.KeyReference{Secret: "broker-ca"}, "ca.crt"},
		"that of no other listener":      {nil, "ca-external.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			user, cluster, secret, bundle := world(t)
			cluster.Spec.Listeners[0].ServerCA, cluster.Spec.Listeners[1].ServerCA = tc.inside, &v1alpha1.KeyReference{Secret: "broker-ca"}
			other, _ := identity(t, []string{"", "", "brokers"}, noon.Add(-time.Hour), noon.Add(1000*time.Hour), true)
			bundle.Data["ca-external.crt"] = string(other)
			user.Status.Conditions[2].Status, user.Status.Conditions[2].Reason, user.Status.Conditions[2].Message = metav1.ConditionFalse, "Unreachable", "no broker answers"
			c := deny(t, []client.Object{user, cluster, secret, bundle}, func(_ string, _ runtime.Object, key client.ObjectKey) bool { return key.Name == "broker-ca" })
			credentials, warnings, err := fetch(t.Context(), c, client.ObjectKeyFromObject(user), "")
			if err != nil {
				t.Fatal(err)
			}
			want := []string{
				"kafkauser shop/orders: AccessSynced: Unreachable: no broker answers",
				"ca.crt is taken from configmap shop/orders-kafka-trust, which holds the same: you may not read secret kafka/broker-ca",
			}
			if !slices.Equal(warnings, want) {
				t.Errorf("warnings %q", warnings)
			}
			if string(credentials.Trust) != bundle.Data[tc.key] {
				t.Errorf("trust: %s", credentials.Trust)
			}
		})
	}
}

func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[e.Name()] = string(data)
	}
	return found
}

func TestWriteFiles(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "a", "b")
	first := []File{{"tls.key", 0o600, []byte("1")}, {"ca.crt", 0o644, []byte("1")}}
	second := []File{{"tls.key", 0o600, []byte("2")}, {"ca.crt", 0o644, []byte("2")}}
	if err := WriteFiles(dir, first, false); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "tls.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("tls.key: %v, %v", info.Mode(), err)
	}
	if err := WriteFiles(dir, second, false); err == nil || !strings.Contains(err.Error(), "already has tls.key, ca.crt; replace with --force") {
		t.Errorf("overwritten without --force: %v", err)
	}
	if got := content(t, dir); got["tls.key"] != "1" || got["ca.crt"] != "1" || len(got) != 2 {
		t.Errorf("after the refusal: %v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFiles(dir, second, true); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir); got["tls.key"] != "2" || got["ca.crt"] != "2" || got["mine"] != "mine" || len(got) != 3 {
		t.Errorf("after --force: %v", got)
	}
	if entries, err := os.ReadDir(filepath.Join(parent, "a")); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestWriteFilesIntoAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFiles(dir, []File{{"tls.key", 0o600, []byte("1")}}, false); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir); got["tls.key"] != "1" || len(got) != 1 {
		t.Errorf("%v", got)
	}
}

func TestWriteFilesNeverFollowsALink(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(elsewhere, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "tls.key")); err != nil {
		t.Fatal(err)
	}
	if err := WriteFiles(dir, []File{{"tls.key", 0o600, []byte("secret")}}, true); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(elsewhere); err != nil || string(got) != "untouched" {
		t.Errorf("the key went through the link: %q, %v", got, err)
	}
}

// TestWriteFilesPutsBack makes the third move fail, after one file was replaced and one was new.
func TestWriteFilesPutsBack(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for name, data := range map[string]string{"a": "new", "b": "new"} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range map[string]string{"a": "old", "c": "old"} {
		if err := os.WriteFile(filepath.Join(to, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := replaceAll(from, to, []File{{Name: "a"}, {Name: "b"}, {Name: "c"}})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if got := content(t, to); got["a"] != "old" || got["c"] != "old" || len(got) != 2 {
		t.Errorf("half applied: %v", got)
	}
}
