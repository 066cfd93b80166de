// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// certManagerCount certificates take cert-manager ten seconds.
const certManagerCount = 1000

// certManagerRate is that of cert-manager as its chart installs it, for a CA issuer with the same kind of mesh CA: its own
// controllers with five workers each, and its webhook, which validates each write and who approves. (Its client does not
// limit itself: the API server has priority and fairness.)
func (p *plane) certManagerRate(ctx context.Context, key *ecdsa.PrivateKey) (rate float64, err error) {
	path, err := p.build(ctx, "bench-cert-manager", filepath.Join(p.Root, "test", "cluster", "components", "certmanager"), ".")
	if err != nil {
		return 0, err
	}
	certificate, caKey, err := newCA()
	if err != nil {
		return 0, err
	}
	if err := p.Apply(ctx, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: cert-manager-bench}
---
apiVersion: v1
kind: Secret
metadata: {name: ca, namespace: cert-manager-bench}
data: {tls.crt: %s, tls.key: %s}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: ca, namespace: cert-manager-bench}
spec: {ca: {secretName: ca}}
`, certificate, caKey)); err != nil {
		return 0, err
	}
	webhook, err := p.startCertManagerWebhook(ctx, path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, webhook.stop()) }()
	start := func() (*process, error) {
		return p.start(ctx, path, "controller", "--kubeconfig="+p.Kubeconfig, "--metrics-listen-address=127.0.0.1:0", "--healthz-listen-address=127.0.0.1:0")
	}
	controllers, err := start()
	if err != nil {
		return 0, err
	}
	err = controllers.until(ctx, "cert-manager's issuer is ready", 200*time.Millisecond, time.Minute, func() (bool, error) {
		var issuer cmv1.Issuer
		if err := p.client.Get(ctx, client.ObjectKey{Namespace: "cert-manager-bench", Name: "ca"}, &issuer); err != nil {
			return false, err
		}
		for _, c := range issuer.Status.Conditions {
			if c.Type == cmv1.IssuerConditionReady && c.Status == cmmeta.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	})
	if err := errors.Join(err, controllers.stop()); err != nil {
		return 0, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "checkout"}}, key)
	if err != nil {
		return 0, err
	}
	for i := range certManagerCount {
		request := &cmv1.CertificateRequest{
			ObjectMeta: metav1.ObjectMeta{Namespace: "cert-manager-bench", Name: fmt.Sprintf("request-%d", i)},
			Spec: cmv1.CertificateRequestSpec{
				IssuerRef: cmmeta.IssuerReference{Name: "ca", Kind: "Issuer", Group: "cert-manager.io"},
				Request:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
				Duration:  &metav1.Duration{Duration: time.Hour}, Usages: []cmv1.KeyUsage{cmv1.UsageClientAuth},
			},
		}
		if err := p.client.Create(ctx, request); err != nil {
			return 0, err
		}
	}
	if controllers, err = start(); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, controllers.stop()) }()
	return controllers.rate(ctx, "cert-manager", certManagerCount, 500*time.Millisecond, func() (float64, error) {
		var list cmv1.CertificateRequestList
		if err := p.client.List(ctx, &list, client.InNamespace("cert-manager-bench")); err != nil {
			return 0, err
		}
		signed := 0.0
		for i := range list.Items {
			if len(list.Items[i].Status.Certificate) > 0 {
				signed++
			}
		}
		return signed, nil
	})
}

// startCertManagerWebhook starts cert-manager's webhook, registers it for what its chart does, and waits until the API
// server asks it.
func (p *plane) startCertManagerWebhook(ctx context.Context, path string) (_ *webhookProcess, err error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "signet-bench-")
	if err != nil {
		return nil, err
	}
	if err := writeServingCertificate(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	certificate := filepath.Join(dir, "tls.crt")
	running, err := p.start(ctx, path, "webhook", "--kubeconfig="+p.Kubeconfig, "--secure-port="+port, "--healthz-port=0", "--metrics-listen-address=0",
		"--tls-cert-file="+certificate, "--tls-private-key-file="+filepath.Join(dir, "tls.key"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	w := &webhookProcess{process: running, address: address, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	ca, err := os.ReadFile(certificate)
	if err != nil {
		return nil, err
	}
	if err := p.Apply(ctx, fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: cert-manager-webhook}
webhooks:
- name: webhook.cert-manager.io
  rules: [{apiGroups: [cert-manager.io, acme.cert-manager.io], apiVersions: [v1], operations: [CREATE, UPDATE], resources: ["*/*"]}]
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {url: "https://%[1]s/validate", caBundle: %[2]s}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: cert-manager-webhook}
webhooks:
- name: webhook.cert-manager.io
  rules: [{apiGroups: [cert-manager.io], apiVersions: [v1], operations: [CREATE], resources: [certificaterequests]}]
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {url: "https://%[1]s/mutate", caBundle: %[2]s}
`, address, base64.StdEncoding.EncodeToString(ca))); err != nil {
		return nil, err
	}
	// A CertificateRequest that only cert-manager's webhook refuses tells that it is asked.
	wrong := &cmv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "wrong"},
		Spec:       cmv1.CertificateRequestSpec{IssuerRef: cmmeta.IssuerReference{Name: "ca"}, Request: []byte("no request")},
	}
	return w, w.until(ctx, "cert-manager's webhook is asked", 200*time.Millisecond, time.Minute, func() (bool, error) {
		err := p.client.Create(ctx, wrong.DeepCopy(), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "spec.request: Invalid value"), nil
	})
}
