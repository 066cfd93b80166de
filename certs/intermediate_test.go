// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// meshCA is a parent in each of the forms that a CA Secret has.
func meshCA(t *testing.T, form string) *CA {
	t.Helper()
	root := newAuthority(t, "root", newKey(t), nil, nil)
	middle := newAuthority(t, "middle", newKey(t), &root, nil)
	low := newAuthority(t, "low", newKey(t), &middle, nil)
	var data map[string][]byte
	switch form {
	case "istio self-signed":
		data, _ = istioSelfSigned(t)
	case "istio plugged in":
		data = map[string][]byte{
			"ca-cert.pem": low.pem(), "ca-key.pem": low.pkcs8(t), "cert-chain.pem": join(low.pem(), middle.pem(), root.pem()), "root-cert.pem": root.pem(),
		}
	case "cert-manager self-signed":
		data = map[string][]byte{"tls.crt": root.pem(), "tls.key": root.pkcs8(t), "ca.crt": root.pem()}
	case "two roots of one key":
		renewed := newAuthority(t, "root", root.key, nil, nil)
		data = map[string][]byte{"ca-cert.pem": root.pem(), "ca-key.pem": root.pkcs8(t), "root-cert.pem": join(root.pem(), renewed.pem())}
	default:
		t.Fatalf("no form %q", form)
	}
	ca, err := ParseCA(data)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestNewIntermediate(t *testing.T) {
	const life = 90 * 24 * time.Hour
	for _, form := range []string{"istio self-signed", "istio plugged in", "cert-manager self-signed", "two roots of one key"} {
		t.Run(form, func(t *testing.T) {
			parent := meshCA(t, form)
			ca, err := NewIntermediate(parent, "kafka.signet.dev", life, testNow)
			if err != nil {
				t.Fatal(err)
			}
			c := ca.Certificate
			if !slices.EqualFunc(ca.Intermediates, append([]*x509.Certificate{c}, parent.Intermediates...), (*x509.Certificate).Equal) {
				t.Errorf("the chain has %d certificates, not the intermediate and the parent's %d", len(ca.Intermediates), len(parent.Intermediates))
			}
			if !slices.EqualFunc(ca.Roots, parent.Roots, (*x509.Certificate).Equal) {
				t.Error("the roots are not the parent's")
			}
			if !c.NotBefore.Equal(testNow.Add(-2*time.Minute)) || !c.NotAfter.Equal(testNow.Add(life)) {
				t.Errorf("valid from %s to %s", c.NotBefore, c.NotAfter)
			}
			if key, ok := ca.Key.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() || !key.PublicKey.Equal(c.PublicKey) {
				t.Error("the key is not the certificate's own on P-256")
			}
			if !c.IsCA || !c.MaxPathLenZero || c.MaxPathLen != 0 || c.KeyUsage != x509.KeyUsageCertSign ||
				!slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || len(c.UnknownExtKeyUsage) > 0 {
				t.Errorf("CA %t, path length %d, key usage %b, extended %v", c.IsCA, c.MaxPathLen, c.KeyUsage, c.ExtKeyUsage)
			}
			if strings.Contains(c.Subject.String(), ".") {
				t.Errorf("subject %s has a dot", c.Subject)
			}
			// What is stored is read back by the same rules as every CA.
			key, err := encodeKey(ca.Key)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseCA(map[string][]byte{"tls.crt": EncodeCertificates(ca.Intermediates), "tls.key": key, "ca.crt": EncodeCertificates(ca.Roots)})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(again.Intermediates, ca.Intermediates, (*x509.Certificate).Equal) {
				t.Errorf("read back, the chain has %d certificates", len(again.Intermediates))
			}
		})
	}
}

// TestIntermediateConstraints pins the form that test/verify shows to be read alike by all verifiers.
func TestIntermediateConstraints(t *testing.T) {
	ca, err := NewIntermediate(meshCA(t, "cert-manager self-signed"), "clients.example.org", time.Hour, testNow)
	if err != nil {
		t.Fatal(err)
	}
	c := ca.Certificate
	networks := make([]string, 0, 2)
	for _, n := range c.ExcludedIPRanges {
		networks = append(networks, n.String())
	}
	for what, lists := range map[string][2][]string{
		"permitted URI":    {c.PermittedURIDomains, {"clients.example.org"}},
		"permitted e-mail": {c.PermittedEmailAddresses, {"clients.example.org"}},
		"permitted DNS":    {c.PermittedDNSDomains, nil},
		"excluded DNS":     {c.ExcludedDNSDomains, {".svc", ".local", ".internal"}},
		"excluded IP":      {networks, {"0.0.0.0/0", "::/0"}},
		"excluded URI":     {c.ExcludedURIDomains, nil},
	} {
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("%s is %q, want %q", what, lists[0], lists[1])
		}
	}
	if !c.PermittedDNSDomainsCritical {
		t.Error("the constraints are not critical")
	}
}

func TestIntermediatesDiffer(t *testing.T) {
	parent := meshCA(t, "cert-manager self-signed")
	seen := map[string]bool{}
	for range 3 {
		ca, err := NewIntermediate(parent, "kafka.signet.dev", time.Hour, testNow)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{ca.Certificate.Subject.String(), ca.Certificate.SerialNumber.String(), string(ca.Certificate.SubjectKeyId)} {
			if seen[id] {
				t.Errorf("%q is in two intermediates", id)
			}
			seen[id] = true
		}
	}
}

func TestIntermediateIsCutToItsParent(t *testing.T) {
	root := newAuthority(t, "root", newKey(t), nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = testNow.Add(-time.Minute), testNow.Add(30*time.Hour)
	})
	low := newAuthority(t, "low", newKey(t), &root, nil)
	parent, err := ParseCA(map[string][]byte{"tls.crt": low.pem(), "tls.key": low.pkcs8(t), "ca.crt": root.pem()})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := NewIntermediate(parent, "kafka.signet.dev", 90*24*time.Hour, testNow)
	if err != nil {
		t.Fatal(err)
	}
	if !ca.Certificate.NotAfter.Equal(root.certificate.NotAfter) {
		t.Errorf("ends %s, its root %s", ca.Certificate.NotAfter, root.certificate.NotAfter)
	}
	young := newAuthority(t, "young", newKey(t), nil, func(c *x509.Certificate) { c.NotBefore = testNow.Add(-time.Minute) })
	parent = &CA{Certificate: young.certificate, Key: young.key, Roots: []*x509.Certificate{young.certificate}}
	if ca, err = NewIntermediate(parent, "kafka.signet.dev", time.Hour, testNow); err != nil {
		t.Fatal(err)
	}
	if ca.Certificate.NotBefore.Before(young.certificate.NotBefore) {
		t.Errorf("begins %s, its parent %s", ca.Certificate.NotBefore, young.certificate.NotBefore)
	}
}

func TestNewIntermediateRefuses(t *testing.T) {
	alone := func(change func(*x509.Certificate)) *CA {
		a := newAuthority(t, "root", newKey(t), nil, change)
		return &CA{Certificate: a.certificate, Key: a.key, Roots: []*x509.Certificate{a.certificate}}
	}
	below := func(change func(*x509.Certificate)) *CA {
		root := newAuthority(t, "root", newKey(t), nil, change)
		low := newAuthority(t, "low", newKey(t), &root, nil)
		return &CA{Certificate: low.certificate, Key: low.key, Intermediates: []*x509.Certificate{low.certificate}, Roots: []*x509.Certificate{root.certificate}}
	}
	pathLength := func(n int) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
	}
	for name, test := range map[string]struct {
		parent      *CA
		trustDomain string
		want        error
		reason      string
		says        string
	}{
		"path length 0":          {alone(pathLength(0)), "kafka.signet.dev", ErrCAInvalid, v1alpha1.ReasonCAInvalid, "let the CA above sign one for Signet"},
		"path length 1 above":    {below(pathLength(1)), "kafka.signet.dev", ErrCAInvalid, v1alpha1.ReasonCAInvalid, `"O=root" has the path length 1`},
		"expired":                {alone(func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Minute) }), "kafka.signet.dev", ErrCAExpired, v1alpha1.ReasonCAExpired, "O=root"},
		"root expired":           {below(func(c *x509.Certificate) { c.NotAfter = testNow.Add(-time.Minute) }), "kafka.signet.dev", ErrCAExpired, v1alpha1.ReasonCAExpired, "O=root"},
		"not yet valid":          {alone(func(c *x509.Certificate) { c.NotBefore = testNow.Add(time.Minute) }), "kafka.signet.dev", ErrCANotYetValid, v1alpha1.ReasonCAExpired, "O=root"},
		"no domain":              {alone(nil), "a..b", ErrCAInvalid, v1alpha1.ReasonCAInvalid, `"a..b"`},
		"an address":             {alone(nil), "10.0.0.1", ErrCAInvalid, v1alpha1.ReasonCAInvalid, `"10.0.0.1"`},
		"constraints of its own": {below(func(c *x509.Certificate) { c.PermittedURIDomains = []string{"cluster.local"} }), "kafka.signet.dev", ErrCAInvalid, v1alpha1.ReasonCAInvalid, "the mode Direct"},
		"excluded by the parent": {alone(func(c *x509.Certificate) { c.ExcludedURIDomains = []string{"signet.dev"} }), "kafka.signet.dev", ErrCAInvalid, v1alpha1.ReasonCAInvalid, "the mode Direct"},
		"servers only above":     {below(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "kafka.signet.dev", ErrCAInvalid, v1alpha1.ReasonCAInvalid, "would be refused"},
	} {
		t.Run(name, func(t *testing.T) {
			ca, err := NewIntermediate(test.parent, test.trustDomain, time.Hour, testNow)
			if ca != nil || !errors.Is(err, test.want) {
				t.Fatalf("%v, %v; want %v", ca, err, test.want)
			}
			if !strings.Contains(err.Error(), test.says) || ReasonOf(err) != test.reason {
				t.Errorf("%v (reason %s); want reason %s and %q", err, ReasonOf(err), test.reason, test.says)
			}
		})
	}
	for name, parent := range map[string]*CA{"path length 1": alone(pathLength(1)), "path length 2 above": below(pathLength(2))} {
		if _, err := NewIntermediate(parent, "kafka.signet.dev", time.Hour, testNow); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIntermediateTemplatesShareNothing(t *testing.T) {
	serial, err := NewSerial()
	if err != nil {
		t.Fatal(err)
	}
	a := IntermediateTemplate("kafka.signet.dev", serial, testNow, testNow.Add(time.Hour))
	b := IntermediateTemplate("kafka.signet.dev", serial, testNow, testNow.Add(time.Hour))
	a.ExcludedIPRanges[0].IP[0] = 1
	if b.ExcludedIPRanges[0].IP[0] != 0 || net.IPv4zero.To4()[0] != 0 {
		t.Error("two templates share memory")
	}
}
