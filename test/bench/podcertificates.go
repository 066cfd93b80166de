// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

const (
	podCertificates                  = "podcertificates"
	podCertificatesVersusCertManager = "podcertificates-vs-cert-manager"
	// podConcurrency is how many requests Signet's controller answers at once.
	podConcurrency = 32
	podRounds      = 3
	podCount       = 2000
)

// measurePodCertificates compares how many PodCertificateRequests a second Signet's controller answers, from the list and
// watch to the status written, with a loop that does nothing but sign and write as many at once, and with the
// CertificateRequests that cert-manager signs as it is installed: approval and a CA issuer, and its webhook, which is asked
// for each write. All with their requests there already, each alone on the same API server, in turn.
func measurePodCertificates(ctx context.Context, only string, out io.Writer) (err error) {
	p, err := newPlane(ctx, "pods")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Down(context.WithoutCancel(ctx))) }()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	if err := p.recordUser(ctx); err != nil {
		return err
	}
	var rates, bares, ratios []float64
	for range podRounds {
		bare, err := p.bareRate(ctx, csr, key)
		if err != nil {
			return err
		}
		rate, err := p.controllerRate(ctx, csr)
		if err != nil {
			return err
		}
		rates, bares, ratios = append(rates, rate), append(bares, bare), append(ratios, rate/bare)
	}
	if strings.Contains(podCertificates, only) {
		ratio := median(ratios)
		fmt.Fprintln(out, line(podCertificates, "certificates/s", median(rates), median(bares), ratio, 0.7, ratio >= 0.7))
	}
	if !strings.Contains(podCertificatesVersusCertManager, only) {
		return nil
	}
	baseline, err := p.certManagerRate(ctx, key)
	if err != nil {
		return err
	}
	ratio := median(rates) / baseline
	fmt.Fprintln(out, line(podCertificatesVersusCertManager, "certificates/s", median(rates), baseline, ratio, 8, ratio >= 8))
	return nil
}

// recordUser has the controller record a KafkaUser, and set up the CA.
func (p *plane) recordUser(ctx context.Context) (err error) {
	if err := p.Apply(ctx, `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: checkout, namespace: shop}
spec: {clusterRef: {namespace: kafka, name: kafka}, consume: [a]}
`); err != nil {
		return err
	}
	controller, err := p.startController(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, controller.stop()) }()
	return controller.until(ctx, "the principal of the KafkaUser is recorded and the CA set up", 100*time.Millisecond, time.Minute, func() (bool, error) {
		var user v1alpha1.KafkaUser
		var mesh v1alpha1.MeshIssuer
		err := errors.Join(p.client.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "checkout"}, &user), p.client.Get(ctx, client.ObjectKey{Name: "mesh"}, &mesh))
		return meta.IsStatusConditionTrue(user.Status.Conditions, v1alpha1.ConditionMappingRecorded) &&
			meta.IsStatusConditionTrue(mesh.Status.Conditions, v1alpha1.ConditionReady), err
	})
}

// request makes count PodCertificateRequests.
func (p *plane) request(ctx context.Context, signerName string, csr []byte) ([]*certificatesv1.PodCertificateRequest, error) {
	requests := make([]*certificatesv1.PodCertificateRequest, podCount)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(podConcurrency)
	for i := range requests {
		group.Go(func() (err error) {
			requests[i], err = p.clientset.CertificatesV1().PodCertificateRequests("shop").Create(ctx, podRequest(signerName, "checkout", csr), metav1.CreateOptions{})
			return err
		})
	}
	return requests, group.Wait()
}

func (p *plane) forgetRequests(ctx context.Context) error {
	return p.clientset.CertificatesV1().PodCertificateRequests("shop").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
}

// bareRate is that of signing with x509.CreateCertificate and writing the status.
func (p *plane) bareRate(ctx context.Context, csr []byte, key *ecdsa.PrivateKey) (float64, error) {
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	parent := caTemplate(now)
	id, err := url.Parse("spiffe://kafka.signet.dev/user/shop/checkout")
	if err != nil {
		return 0, err
	}
	requests, err := p.request(ctx, "bench.signet.dev/bare", csr)
	if err != nil {
		return 0, err
	}
	write := func(ctx context.Context, serial int64, request *certificatesv1.PodCertificateRequest) error {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "checkout", OrganizationalUnit: []string{"shop"}, Organization: []string{"signet"}},
			URIs: []*url.URL{id}, NotBefore: now, NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, ca)
		if err != nil {
			return err
		}
		refreshAt, notBefore, notAfter := metav1.NewTime(now.Add(40*time.Minute)), metav1.NewTime(template.NotBefore), metav1.NewTime(template.NotAfter)
		request.Status = certificatesv1.PodCertificateRequestStatus{
			Conditions: []metav1.Condition{{
				Type: certificatesv1.PodCertificateRequestConditionTypeIssued, Status: metav1.ConditionTrue,
				LastTransitionTime: metav1.NewTime(now), Reason: "Bare", Message: "signed",
			}},
			CertificateChain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
			NotBefore:        &notBefore, BeginRefreshAt: &refreshAt, NotAfter: &notAfter,
		}
		_, err = p.clientset.CertificatesV1().PodCertificateRequests("shop").UpdateStatus(ctx, request, metav1.UpdateOptions{})
		return err
	}
	begin := time.Now()
	group, together := errgroup.WithContext(ctx)
	group.SetLimit(podConcurrency)
	for i, request := range requests {
		group.Go(func() error { return write(together, int64(i+1), request) })
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	rate := podCount / time.Since(begin).Seconds()
	return rate, p.forgetRequests(ctx)
}

// controllerRate is that of Signet's controller, as it counts the certificates that it has issued.
func (p *plane) controllerRate(ctx context.Context, csr []byte) (rate float64, err error) {
	if _, err := p.request(ctx, v1alpha1.SignerName("mesh"), csr); err != nil {
		return 0, err
	}
	controller, err := p.startController(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, controller.stop()) }()
	rate, err = controller.rate(ctx, podCertificates, podCount, 250*time.Millisecond, func() (float64, error) {
		return controller.scrape(ctx, "signet_certificate_decisions_total", `kind="PodCertificateRequest"`, `outcome="issued"`)
	})
	if err != nil {
		return 0, err
	}
	return rate, p.forgetRequests(ctx)
}

func caTemplate(now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"cluster.local"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(240 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// newCA makes a CA with an RSA-2048 key, as istiod does for itself, both parts PEM in base64.
func newCA() (certificate, key string, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", "", err
	}
	template := caTemplate(time.Now())
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	encode := func(block pem.Block) string { return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&block)) }
	return encode(pem.Block{Type: "CERTIFICATE", Bytes: der}), encode(pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
