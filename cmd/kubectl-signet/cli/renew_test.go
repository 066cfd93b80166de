// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// signet stands for the API server and for Signet's controller behind it, which answers at the second look at a
// CertificateSigningRequest.
type signet struct {
	client.Client
	user    *v1alpha1.KafkaUser
	cluster *v1alpha1.KafkaCluster
	issuer  *v1alpha1.MeshIssuer
	bundle  *corev1.ConfigMap
	ca      authority
	// now is the time; answer replaces the certificate that is issued; away makes the API server fail.
	now    time.Time
	answer func(*certificatesv1.CertificateSigningRequest)
	away   func(verb string, o client.Object) error
	// requests are those that were made.
	requests []certificatesv1.CertificateSigningRequest
	out      bytes.Buffer
}

func newSignet(t *testing.T, more ...client.Object) *signet {
	t.Helper()
	s := &signet{ca: newAuthority(t, "mesh"), now: noon}
	s.user, s.cluster, _, s.bundle = world(t)
	s.issuer = &v1alpha1.MeshIssuer{}
	s.issuer.Name = "mesh"
	looks := 0
	check := func(verb string, o client.Object) error {
		if s.away == nil {
			return nil
		}
		return s.away(verb, o)
	}
	s.Client = fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(append(more, s.user, s.cluster, s.issuer, s.bundle)...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := check("create", o); err != nil {
				return err
			}
			csr, ok := o.(*certificatesv1.CertificateSigningRequest)
			if !ok {
				t.Errorf("a %T is written", o)
				return nil
			}
			err := c.Create(ctx, o, opts...)
			s.requests = append(s.requests, *csr.DeepCopy())
			looks = 0
			return err
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if err := check("get", o); err != nil {
				return err
			}
			if err := c.Get(ctx, key, o, opts...); err != nil {
				return err
			}
			if csr, ok := o.(*certificatesv1.CertificateSigningRequest); ok {
				if looks++; looks > 1 {
					if s.answer != nil {
						s.answer(csr)
					} else {
						csr.Status.Certificate = s.ca.issue(t, csr.Spec.Request, s.now, nil)
					}
				}
			}
			return nil
		},
	}).Build()
	return s
}

func (s *signet) streams() genericiooptions.IOStreams {
	return genericiooptions.IOStreams{In: strings.NewReader(""), Out: &s.out, ErrOut: &s.out}
}

func (s *signet) renewal(dir string, settings Settings) renewal {
	settings.User, settings.Namespace, settings.RenewAt = "orders", "shop", 0.7
	return renewal{
		certifier: certifier{client: s, timeout: time.Minute, interval: time.Microsecond, say: func(string) {}},
		settings:  settings, dir: dir, csr: settings.CSR, streams: s.streams(), now: func() time.Time { return s.now },
	}
}

// signed makes a directory as sign --dir does.
func (s *signet) signed(t *testing.T, settings Settings) (string, renewal) {
	t.Helper()
	dir := claimed(t)
	r := s.renewal(dir, settings)
	done, err := r.files(t.Context(), nil, true)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, dir, done.files)
	return dir, r
}

func (s *signet) renew(t *testing.T, r renewal, force bool) (said string, err error) {
	t.Helper()
	there, err := ReadSet(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	s.out.Reset()
	err = r.run(t.Context(), there, force)
	return strings.ReplaceAll(s.out.String(), r.dir, "DIR"), err
}

// checkSet checks that the files of a set belong together, for the client and with Signet's CA.
func (s *signet) checkSet(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := visible(t, dir)
	pair, err := tls.X509KeyPair([]byte(files["tls.crt"]), []byte(files["tls.key"]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair([]byte(files["keystore.pem"]), []byte(files["keystore.pem"])); err != nil {
		t.Error(err)
	}
	if !strings.HasSuffix(files["keystore.pem"], files["tls.crt"]) || !strings.HasPrefix(files["keystore.pem"], files["tls.key"]) {
		t.Error("keystore.pem is not key and chain")
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(s.ca.root)
	intermediates.AddCert(s.ca.intermediate)
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: s.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"client.properties", "librdkafka.conf", "kafka.json"} {
		if !strings.Contains(files[name], dir+"/") || !strings.Contains(files[name], "kafka.example.com:9094") {
			t.Errorf("%s:\n%s", name, files[name])
		}
	}
	return files
}

func TestSignDirectory(t *testing.T) {
	s := newSignet(t)
	dir, _ := s.signed(t, Settings{})
	files := s.checkSet(t, dir)
	if want := slices.Sorted(slices.Values([]string{"tls.crt", "tls.key", "ca.crt", "keystore.pem", "client.properties", "librdkafka.conf", "kafka.json", "signet.json"})); !slices.Equal(slices.Sorted(keys(files)), want) {
		t.Errorf("files %v", files)
	}
	if !strings.HasSuffix(s.bundle.Data["ca.crt"], files["ca.crt"]) || files["ca.crt"] == "" {
		t.Errorf("ca.crt:\n%s", files["ca.crt"])
	}
	for name, mode := range map[string]os.FileMode{"tls.key": 0o600, "keystore.pem": 0o600, "tls.crt": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if len(s.requests) != 1 {
		t.Fatalf("%d requests", len(s.requests))
	}
	csr := s.requests[0]
	if bytes.Contains(csr.Spec.Request, []byte("PRIVATE KEY")) || csr.Spec.SignerName != "kafka.signet.dev/mesh" {
		t.Errorf("%+v", csr.Spec)
	}
	// For a remote CA, which sees nothing but the request, it is complete.
	read, _, err := ReadCertificateRequest(csr.Spec.Request, ordersIdentity(t))
	if err != nil || read.Subject.CommonName != "orders" || len(read.URIs) != 1 {
		t.Errorf("request of %s, %v, %v", read.Subject, read.URIs, err)
	}
	if strings.Contains(s.out.String(), "PRIVATE") {
		t.Error("it prints the key")
	}
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestSignWithoutTheRightToReadTheMeshIssuer(t *testing.T) {
	s := newSignet(t)
	s.away = func(_ string, o client.Object) error {
		if _, ok := o.(*v1alpha1.MeshIssuer); ok {
			return apierrors.NewForbidden(schema.GroupResource{}, "mesh", nil)
		}
		return nil
	}
	dir, _ := s.signed(t, Settings{})
	s.checkSet(t, dir)
	if csr, _, err := ReadCertificateRequest(s.requests[0].Spec.Request, ordersIdentity(t)); err != nil || len(csr.URIs) != 0 {
		t.Errorf("URIs of an unknown trust domain: %v, %v", csr.URIs, err)
	}
}

// TestRenew goes through the life of a directory.
func TestRenew(t *testing.T) {
	s := newSignet(t)
	dir, r := s.signed(t, Settings{})
	before := s.checkSet(t, dir)
	link, err := os.Readlink(filepath.Join(dir, currentLink))
	if err != nil {
		t.Fatal(err)
	}
	step := func(name string, force bool, wantSaid, wantErr string, changed ...string) {
		t.Helper()
		said, err := s.renew(t, r, force)
		if !strings.HasPrefix(said, wantSaid) || wantSaid == "" && said != "" {
			t.Errorf("%s: it says %q, want %q", name, said, wantSaid)
		}
		if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%s: %v, want %q", name, err, wantErr)
		}
		after := s.checkSet(t, dir)
		for file := range after {
			if (after[file] != before[file]) != slices.Contains(changed, file) {
				t.Errorf("%s: %s changed: %v", name, file, after[file] != before[file])
			}
		}
		before = after
		if now, err := os.Readlink(filepath.Join(dir, currentLink)); err != nil || (now != link) != (len(changed) > 0) {
			t.Errorf("%s: link %s, was %s, %v", name, now, link, err)
		} else {
			link = now
		}
	}
	pair := []string{"tls.crt", "tls.key", "keystore.pem"}
	addRoot := func() {
		extra := certs.EncodeCertificates([]*x509.Certificate{newAuthority(t, "next").root})
		s.bundle.Data["ca.crt"] += string(extra)
		if err := s.Update(t.Context(), s.bundle); err != nil {
			t.Fatal(err)
		}
	}
	deny := func(csr *certificatesv1.CertificateSigningRequest) {
		csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied, Status: corev1.ConditionTrue, Reason: "NotAllowed", Message: "you may not sign"}}
	}

	step("nothing to do", false, "", "")
	s.now = noon.Add(4 * time.Hour)
	step("not due", false, "", "")
	addRoot()
	step("a new root", false, "DIR refreshed: ca.crt\n", "", "ca.crt")
	step("forced", true, "DIR renewed: User:shop.orders at listener outside (kafka.example.com:9094), valid for 6h", "", pair...)
	s.now = s.now.Add(4*time.Hour + 11*time.Minute)
	step("just before", false, "", "")
	s.now = s.now.Add(2 * time.Minute)
	s.answer = deny
	step("due, and denied", false, "", "was denied: NotAllowed: you may not sign")
	addRoot()
	step("due, and denied, in a rotation", false, "DIR refreshed: ca.crt\n", "was denied", "ca.crt")
	s.answer = func(csr *certificatesv1.CertificateSigningRequest) {
		csr.Status.Certificate = s.ca.issue(t, csr.Spec.Request, s.now, func(c *x509.Certificate) { c.IsCA = true })
	}
	step("due, and the wrong certificate", false, "", "is not one for a client")
	s.answer = nil
	s.away = func(verb string, _ client.Object) error {
		return apierrors.NewInternalError(errors.New("etcd is down"))
	}
	step("no API server", false, "", "etcd is down")
	s.away = nil
	step("due", false, "DIR renewed: User:shop.orders", "", pair...)
	if got := len(s.requests); got != 6 {
		t.Errorf("%d requests", got)
	}
	s.now = s.now.Add(100 * time.Hour)
	if said, err := s.renew(t, r, false); err != nil || !strings.HasPrefix(said, "DIR renewed") {
		t.Errorf("long after its end: %q, %v", said, err)
	}
	s.checkSet(t, dir)
}

func TestRenewOfASuspendedUser(t *testing.T) {
	s := newSignet(t)
	dir, r := s.signed(t, Settings{})
	s.user.Spec.Suspend = true
	if err := s.Update(t.Context(), s.user); err != nil {
		t.Fatal(err)
	}
	if said, err := s.renew(t, r, false); err != nil || said != "" {
		t.Errorf("not due: %q, %v", said, err)
	}
	if _, err := s.renew(t, r, true); err == nil || !strings.Contains(err.Error(), "is suspended") {
		t.Errorf("due: %v", err)
	}
	if len(s.requests) != 1 {
		t.Errorf("%d requests; a suspended user's would lie about until it is resumed", len(s.requests))
	}
	s.checkSet(t, dir)
}

// TestRenewTakesOtherNames: a KafkaCluster with another organization gives its users other subjects.
func TestRenewTakesOtherNames(t *testing.T) {
	s := newSignet(t)
	dir, r := s.signed(t, Settings{})
	s.cluster.Spec.Certificates.Organization, s.user.Status.Subject = "acme", "CN=orders,OU=shop,O=acme"
	if err := errors.Join(s.Update(t.Context(), s.cluster), s.Update(t.Context(), s.user)); err != nil {
		t.Fatal(err)
	}
	s.answer = func(csr *certificatesv1.CertificateSigningRequest) {
		csr.Status.Certificate = s.ca.issue(t, csr.Spec.Request, s.now, func(c *x509.Certificate) {
			c.RawSubject = nil
			c.Subject.CommonName, c.Subject.OrganizationalUnit, c.Subject.Organization = "orders", []string{"shop"}, []string{"acme"}
		})
	}
	if said, err := s.renew(t, r, false); err != nil || !strings.HasPrefix(said, "DIR renewed") {
		t.Errorf("%q, %v", said, err)
	}
	s.checkSet(t, dir)
}

func TestRenewMendsAPairThatDoesNotMatch(t *testing.T) {
	s := newSignet(t)
	dir, r := s.signed(t, Settings{})
	other, err := encodeKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.key"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := s.renew(t, r, false); err != nil || !strings.HasPrefix(said, "DIR renewed") {
		t.Errorf("%q, %v", said, err)
	}
	s.checkSet(t, dir)
}

func TestKeyFile(t *testing.T) {
	s := newSignet(t)
	key, err := encodeKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, r := s.signed(t, Settings{KeyFile: file})
	first := s.checkSet(t, dir)
	if _, err := s.renew(t, r, true); err != nil {
		t.Fatal(err)
	}
	second := s.checkSet(t, dir)
	if first["tls.key"] != string(key) || second["tls.key"] != string(key) || first["tls.crt"] == second["tls.crt"] {
		t.Error("the key is not the file's, or the certificate was not renewed")
	}
	if err := os.WriteFile(file, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.renew(t, r, true); err == nil || !strings.Contains(err.Error(), "no private key in PEM") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// TestKeyElsewhere: with a certificate request made elsewhere the directory has no key, and no file that names one.
func TestKeyElsewhere(t *testing.T) {
	s := newSignet(t)
	request, err := NewCertificateRequest(newKey(t), ordersIdentity(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "orders.csr")
	if err := os.WriteFile(file, request, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, r := s.signed(t, Settings{KeyElsewhere: true, CSR: file})
	want := []string{"ca.crt", "signet.json", "tls.crt"}
	first := visible(t, dir)
	if got := slices.Sorted(keys(first)); !slices.Equal(got, want) {
		t.Errorf("files %v", got)
	}
	if said, err := s.renew(t, r, false); err != nil || said != "" {
		t.Errorf("not due: %q, %v", said, err)
	}
	s.now = noon.Add(5 * time.Hour)
	if said, err := s.renew(t, r, false); err != nil || !strings.HasPrefix(said, "DIR renewed") {
		t.Errorf("due: %q, %v", said, err)
	}
	if second := visible(t, dir); second["tls.crt"] == first["tls.crt"] || !slices.Equal(slices.Sorted(keys(second)), want) {
		t.Errorf("files %v", second)
	}
	r.csr = ""
	s.now = s.now.Add(5 * time.Hour)
	if _, err := s.renew(t, r, false); err == nil || !strings.Contains(err.Error(), "name the certificate request with --csr") {
		t.Errorf("by standard input at first, and not named now: %v", err)
	}
}

// TestTrustOfAListenerWithoutServerCA comes from the ClusterTrustBundle, where the user's bundle has only that of another
// listener, as an earlier version made it.
func TestTrustOfAListenerWithoutServerCA(t *testing.T) {
	s := newSignet(t)
	s.cluster.Spec.Listeners[0].ServerCA = &v1alpha1.KeyReference{Secret: "broker-ca", Key: "ca.crt"}
	if err := s.Update(t.Context(), s.cluster); err != nil {
		t.Fatal(err)
	}
	r := s.renewal(t.TempDir(), Settings{})
	if _, err := r.files(t.Context(), nil, true); err == nil || !strings.Contains(err.Error(), "clustertrustbundle kafka.signet.dev:mesh:roots does not exist") {
		t.Errorf("got %v", err)
	}
	roots := certs.EncodeCertificates([]*x509.Certificate{s.ca.root, newAuthority(t, "next").root})
	bundle := &certificatesv1.ClusterTrustBundle{}
	bundle.Name, bundle.Spec.TrustBundle = "kafka.signet.dev:mesh:roots", string(roots)
	s = newSignet(t, bundle)
	s.cluster.Spec.Listeners[0].ServerCA = &v1alpha1.KeyReference{Secret: "broker-ca", Key: "ca.crt"}
	if err := s.Update(t.Context(), s.cluster); err != nil {
		t.Fatal(err)
	}
	dir, _ := s.signed(t, Settings{})
	if got := s.checkSet(t, dir)["ca.crt"]; got != string(roots) {
		t.Errorf("ca.crt:\n%s", got)
	}
}

func TestCertifyWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(*signet)
		want    []string
	}{
		"nobody answers":    {func(s *signet) { s.answer = func(*certificatesv1.CertificateSigningRequest) {} }, []string{"was not signed within 20ms", "nobody has answered"}},
		"the right to ask":  {func(s *signet) { s.away = forbid("create") }, []string{"you may not create certificatesigningrequests", "--clusterrole=signet-external-client"}},
		"the right to look": {func(s *signet) { s.away = forbid("get") }, []string{"you may not get certificatesigningrequests"}},
		"an API server far away": {func(s *signet) {
			s.away = func(verb string, o client.Object) error {
				return forbidden(verb, "get", o, apierrors.NewTimeoutError("slow", 1))
			}
		}, []string{"was not signed within 20ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSignet(t)
			tc.prepare(s)
			r := s.renewal(t.TempDir(), Settings{})
			r.timeout = 20 * time.Millisecond
			_, err := r.files(t.Context(), nil, true)
			if err == nil {
				t.Fatal("signed")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func forbid(verb string) func(string, client.Object) error {
	return func(v string, o client.Object) error {
		return forbidden(v, verb, o, apierrors.NewForbidden(schema.GroupResource{Resource: "certificatesigningrequests"}, "", errors.New("no rule allows it")))
	}
}

// forbidden gives the error for one verb on CertificateSigningRequests.
func forbidden(verb, wanted string, o client.Object, err error) error {
	if _, ok := o.(*certificatesv1.CertificateSigningRequest); ok && verb == wanted {
		return err
	}
	return nil
}

func TestCertifyIsInterrupted(t *testing.T) {
	s := newSignet(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.answer = func(*certificatesv1.CertificateSigningRequest) { cancel() }
	_, err := s.renewal(t.TempDir(), Settings{}).files(ctx, nil, true)
	if err == nil || !strings.Contains(err.Error(), "interrupted while waiting for certificatesigningrequest signet-shop-orders-") {
		t.Errorf("got %v", err)
	}
}

func TestSignRequest(t *testing.T) {
	s := newSignet(t)
	s.now = time.Now()
	request, err := NewCertificateRequest(newKey(t), ordersIdentity(t))
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	streams := genericiooptions.IOStreams{In: bytes.NewReader(request), Out: &stdout, ErrOut: &stderr}
	if err := signRequest(t.Context(), s, client.ObjectKeyFromObject(s.user), signFlags{csr: "-", timeout: time.Minute, lifetime: time.Hour}, streams); err != nil {
		t.Fatal(err)
	}
	certificates, err := certs.ParseCertificates(stdout.Bytes())
	if err != nil || len(certificates) != 2 || certificates[1].Subject.CommonName != "mesh intermediate" {
		t.Errorf("%v\n%s", err, stdout.String())
	}
	if *s.requests[0].Spec.ExpirationSeconds != 3600 || !strings.HasPrefix(stderr.String(), "User:shop.orders, valid for ") {
		t.Errorf("%+v, %s", s.requests[0].Spec, stderr.String())
	}
	out := filepath.Join(t.TempDir(), "orders.crt")
	streams.In, streams.Out = bytes.NewReader(request), io.Discard
	if err := signRequest(t.Context(), s, client.ObjectKeyFromObject(s.user), signFlags{csr: "-", output: out, timeout: time.Minute}, streams); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(out); err != nil || !bytes.HasPrefix(text, []byte("-----BEGIN CERTIFICATE-----\n")) {
		t.Errorf("%s, %v", text, err)
	}
	if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	err = signRequest(t.Context(), s, client.ObjectKeyFromObject(s.user), signFlags{csr: "-", output: out, timeout: time.Minute}, streams)
	if err == nil || !strings.Contains(err.Error(), "exists; replace it with --force") || len(s.requests) != 2 {
		t.Errorf("a file is replaced: %v", err)
	}
}

func TestSignDirectoryRefuses(t *testing.T) {
	s := newSignet(t)
	s.now = time.Now()
	settings := Settings{User: "orders", Namespace: "shop", RenewAt: 0.7}
	dir := filepath.Join(t.TempDir(), "orders")
	s.answer = func(csr *certificatesv1.CertificateSigningRequest) {
		csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied, Reason: "NotAllowed"}}
	}
	flags := signFlags{dir: dir, timeout: time.Minute}
	if err := signDirectory(t.Context(), s, settings, flags, s.streams()); err == nil || !strings.Contains(err.Error(), "was denied: NotAllowed") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("it leaves a directory")
	}
	s.answer = nil
	if err := signDirectory(t.Context(), s, settings, flags, s.streams()); err != nil {
		t.Fatal(err)
	}
	before := s.checkSet(t, dir)
	if err := signDirectory(t.Context(), s, settings, flags, s.streams()); err == nil || !strings.Contains(err.Error(), "or keep it current with kubectl signet renew --dir "+dir) {
		t.Errorf("got %v", err)
	}
	if after := s.checkSet(t, dir); after["tls.key"] != before["tls.key"] || len(s.requests) != 2 {
		t.Error("it is signed again although it is refused")
	}
	flags.force = true
	if err := signDirectory(t.Context(), s, settings, flags, s.streams()); err != nil {
		t.Fatal(err)
	}
	if after := s.checkSet(t, dir); after["tls.key"] == before["tls.key"] {
		t.Error("--force changes nothing")
	}
}

// TestRenewGoesWhereSignWent: the kubeconfig and the context of sign count, not what is current now; and what fails
// leaves the files alone.
func TestRenewGoesWhereSignWent(t *testing.T) {
	s := newSignet(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	config := "apiVersion: v1\nkind: Config\ncurrent-context: other\nclusters: [{name: here, cluster: {server: 'http://127.0.0.1:1'}}, {name: other, cluster: {server: 'http://127.0.0.1:2'}}]\n" +
		"contexts: [{name: here, context: {cluster: here}}, {name: other, context: {cluster: other}}]\n"
	if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "orders")
	settings, err := signFlags{}.settings(client.ObjectKeyFromObject(s.user), kubeconfig, "here")
	if err != nil {
		t.Fatal(err)
	}
	s.now = time.Now()
	if err := signDirectory(t.Context(), s, settings, signFlags{dir: dir, timeout: time.Minute}, s.streams()); err != nil {
		t.Fatal(err)
	}
	before := s.checkSet(t, dir)
	renew := func() (int, string) {
		var stdout, stderr bytes.Buffer
		code := Run(t.Context(), []string{"renew", "--dir", dir}, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &stdout, ErrOut: &stderr}, "")
		return code, stdout.String() + stderr.String()
	}
	if code, said := renew(); code != ExitError || !strings.Contains(said, "127.0.0.1:1") {
		t.Errorf("exit code %d: %s", code, said)
	}
	release, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if code, said := renew(); code != ExitError || said != "error: another kubectl signet is at work on "+dir+"\n" {
		t.Errorf("exit code %d: %s", code, said)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	for name, data := range s.checkSet(t, dir) {
		if data != before[name] {
			t.Errorf("%s changed", name)
		}
	}
}
