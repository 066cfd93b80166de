// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	acadmission "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// servingOwner owns the field caBundle of the webhook configurations and nothing else in them, so that whoever applies
// the rest (Helm, a GitOps controller) neither sees a difference nor undoes it.
const servingOwner = client.FieldOwner("signet-webhook-ca")

// ServingController makes and renews the webhook's serving certificate and tells the API server whom to trust for it.
// The webhook's pods only mount the Secret.
type ServingController struct {
	// Client writes to the API server.
	Client client.Client
	// Named watches the two Secrets and the webhook configurations.
	Named *Named
	// Namespace of the Secrets.
	Namespace string
	// CASecret holds the CA with its key (tls.crt, tls.key, ca.crt); nobody mounts it.
	CASecret string
	// Secret holds the serving certificate (tls.crt, tls.key, ca.crt); the webhook's pods mount it.
	Secret string
	// WebhookConfiguration is the name of the mutating and of the validating webhook configuration.
	WebhookConfiguration string
	// DNSNames of the webhook's Service: <service>.<namespace>.svc and shorter.
	DNSNames []string
	// Now is the clock.
	Now func() time.Time
}

// SetupWithManager registers the controller.
func (r *ServingController) SetupWithManager(mgr ctrl.Manager) error {
	mine := map[Reference]bool{}
	for _, ref := range r.references() {
		mine[ref] = true
	}
	if err := r.Named.Keep("webhook-serving", r.references()); err != nil {
		return fmt.Errorf("webhook serving certificate: %w", err)
	}
	start := make(chan event.GenericEvent, 1)
	start <- event.GenericEvent{Object: &corev1.Secret{}} // with no Secret yet, no watch would ever start it
	whole := []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: r.Secret}}}
	return ctrl.NewControllerManagedBy(mgr).Named("webhook-serving-certificate").
		WatchesRawSource(source.Channel(start, handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request { return whole }))).
		WatchesRawSource(r.Named.Source(func(_ context.Context, ref Reference) []reconcile.Request {
			if mine[ref] {
				return whole
			}
			return nil
		})).
		Complete(r)
}

func (r *ServingController) references() []Reference {
	return []Reference{
		{Kind: KindSecret, Namespace: r.Namespace, Name: r.CASecret},
		{Kind: KindSecret, Namespace: r.Namespace, Name: r.Secret},
		{Kind: KindMutatingWebhookConfiguration, Name: r.WebhookConfiguration},
		{Kind: KindValidatingWebhookConfiguration, Name: r.WebhookConfiguration},
	}
}

// Reconcile takes the next step of PlanServing.
func (r *ServingController) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	now := r.Now()
	var caSecret, secret corev1.Secret
	if err := r.read(ctx, r.CASecret, &caSecret); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.read(ctx, r.Secret, &secret); err != nil {
		return ctrl.Result{}, err
	}
	state := readServing(&caSecret, &secret)
	bundle := EncodeCertificates(state.Trusted)
	configurations, err := r.configurations(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	state.Announced = true
	for _, c := range configurations {
		state.Announced = state.Announced && c.trusts(bundle)
	}
	plan := PlanServing(state, r.DNSNames, now)
	log := ctrl.LoggerFrom(ctx)
	switch {
	case plan.NewCA:
		log.Info("making a CA for the webhook's serving certificate", "secret", r.CASecret)
		return ctrl.Result{}, r.writeCA(ctx, &caSecret, state, now)
	case plan.DropOldCA:
		log.Info("no longer trusting the old CA of the webhook's serving certificate", "secret", r.CASecret)
		return ctrl.Result{}, r.writeTrusted(ctx, &caSecret, EncodeCertificates([]*x509.Certificate{state.CA.Certificate}))
	}
	if plan.Announce {
		for _, c := range configurations {
			if c.trusts(bundle) {
				continue
			}
			if err := c.announce(ctx, r.Client, bundle); err != nil {
				return ctrl.Result{}, err
			}
			log.Info("wrote caBundle", "kind", c.kind, "name", c.name)
		}
	}
	if plan.NewLeaf {
		log.Info("signing the webhook's serving certificate", "secret", r.Secret)
		if err := r.writeLeaf(ctx, &secret, state, bundle, now); err != nil {
			return ctrl.Result{}, err
		}
	}
	// At least daily, for a machine that slept or whose clock was set.
	return ctrl.Result{RequeueAfter: min(max(plan.Recheck.Sub(now), time.Second), 24*time.Hour)}, nil
}

func (r *ServingController) read(ctx context.Context, name string, into *corev1.Secret) error {
	_, err := lookup(ctx, r.Named, client.ObjectKey{Namespace: r.Namespace, Name: name}, into)
	return err
}

// readServing reads what is usable of the two Secrets.
func readServing(caSecret, secret *corev1.Secret) Serving {
	var s Serving
	if ca, err := ParseCA(map[string][]byte{keyTLSCert: caSecret.Data[keyTLSCert], keyTLSKey: caSecret.Data[keyTLSKey]}); err == nil {
		s.CA = ca
		s.Trusted = []*x509.Certificate{ca.Certificate}
	}
	stored := caSecret.Data[keyTLSRoot]
	if len(stored) == 0 { // the CA's Secret is gone; the leaf's tells who signed it
		stored = secret.Data[keyTLSRoot]
	}
	if trusted, err := ParseCertificates(stored); err == nil {
		s.Trusted = unique(append(s.Trusted, trusted...))
	}
	if _, err := tls.X509KeyPair(secret.Data[keyTLSCert], secret.Data[keyTLSKey]); err == nil {
		s.Leaf = parseLeaf(secret.Data[keyTLSCert])
	}
	return s
}

func (r *ServingController) writeCA(ctx context.Context, secret *corev1.Secret, state Serving, now time.Time) error {
	c, key, err := newServingCA(now)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	return r.write(ctx, secret, r.CASecret, map[string][]byte{
		keyTLSCert: EncodeCertificates([]*x509.Certificate{c}),
		keyTLSKey:  keyPEM,
		keyTLSRoot: EncodeCertificates(state.trustedWith(c)),
	})
}

func (r *ServingController) writeTrusted(ctx context.Context, secret *corev1.Secret, bundle []byte) error {
	return r.write(ctx, secret, r.CASecret, map[string][]byte{
		keyTLSCert: secret.Data[keyTLSCert], keyTLSKey: secret.Data[keyTLSKey], keyTLSRoot: bundle,
	})
}

func (r *ServingController) writeLeaf(ctx context.Context, secret *corev1.Secret, state Serving, bundle []byte, now time.Time) error {
	leaf, key, err := newServingLeaf(state.CA, r.DNSNames, now)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	return r.write(ctx, secret, r.Secret, map[string][]byte{
		keyTLSCert: EncodeCertificates([]*x509.Certificate{leaf}), keyTLSKey: keyPEM, keyTLSRoot: bundle,
	})
}

// write replaces the data of a Secret in one go, under the version that was read: a certificate never stands beside
// another one's key, and of two controllers one loses.
func (r *ServingController) write(ctx context.Context, read *corev1.Secret, name string, data map[string][]byte) error {
	secret := read.DeepCopy()
	secret.Data = data
	if secret.ResourceVersion == "" {
		secret.ObjectMeta = metav1.ObjectMeta{Namespace: r.Namespace, Name: name, Labels: map[string]string{LabelManagedBy: ManagedBy}}
		secret.Type = corev1.SecretTypeTLS
		if err := r.Client.Create(ctx, secret, servingOwner); err != nil {
			return fmt.Errorf("create secret %s/%s: %w", r.Namespace, name, err)
		}
		return nil
	}
	if err := r.Client.Update(ctx, secret, servingOwner); err != nil {
		return fmt.Errorf("update secret %s/%s: %w", r.Namespace, name, err)
	}
	return nil
}

// webhookConfiguration is what the two kinds of webhook configuration have in common.
type webhookConfiguration struct {
	kind, name, version string
	// webhooks are in the order of the configuration: an apply with them in another order would move them.
	webhooks []webhookBundle
}

type webhookBundle struct {
	name     string
	caBundle []byte
}

func (c webhookConfiguration) trusts(bundle []byte) bool {
	return !slices.ContainsFunc(c.webhooks, func(w webhookBundle) bool { return !bytes.Equal(w.caBundle, bundle) })
}

// configurations reads those of the two webhook configurations that exist.
func (r *ServingController) configurations(ctx context.Context) ([]webhookConfiguration, error) {
	var out []webhookConfiguration
	key := client.ObjectKey{Name: r.WebhookConfiguration}
	var mutating admissionregistrationv1.MutatingWebhookConfiguration
	found, err := lookup(ctx, r.Named, key, &mutating)
	if err != nil {
		return nil, err
	}
	if found {
		c := webhookConfiguration{kind: string(KindMutatingWebhookConfiguration), name: mutating.Name, version: mutating.ResourceVersion}
		for _, w := range mutating.Webhooks {
			c.webhooks = append(c.webhooks, webhookBundle{w.Name, w.ClientConfig.CABundle})
		}
		out = append(out, c)
	}
	var validating admissionregistrationv1.ValidatingWebhookConfiguration
	if found, err = lookup(ctx, r.Named, key, &validating); err != nil {
		return nil, err
	}
	if found {
		c := webhookConfiguration{kind: string(KindValidatingWebhookConfiguration), name: validating.Name, version: validating.ResourceVersion}
		for _, w := range validating.Webhooks {
			c.webhooks = append(c.webhooks, webhookBundle{w.Name, w.ClientConfig.CABundle})
		}
		out = append(out, c)
	}
	return out, nil
}

// announce writes the bundle into every webhook that was there when the configuration was read. The version makes the
// API server refuse it if one was removed since, which an apply would otherwise bring back without its other fields.
func (c webhookConfiguration) announce(ctx context.Context, writer client.Client, bundle []byte) error {
	var err error
	if c.kind == string(KindMutatingWebhookConfiguration) {
		ac := acadmission.MutatingWebhookConfiguration(c.name).WithResourceVersion(c.version)
		for _, w := range c.webhooks {
			ac.WithWebhooks(acadmission.MutatingWebhook().WithName(w.name).WithClientConfig(acadmission.WebhookClientConfig().WithCABundle(bundle...)))
		}
		err = writer.Apply(ctx, ac, servingOwner, client.ForceOwnership)
	} else {
		ac := acadmission.ValidatingWebhookConfiguration(c.name).WithResourceVersion(c.version)
		for _, w := range c.webhooks {
			ac.WithWebhooks(acadmission.ValidatingWebhook().WithName(w.name).WithClientConfig(acadmission.WebhookClientConfig().WithCABundle(bundle...)))
		}
		err = writer.Apply(ctx, ac, servingOwner, client.ForceOwnership)
	}
	if err != nil {
		return fmt.Errorf("write caBundle of %s %s: %w", c.kind, c.name, err)
	}
	return nil
}
