// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/mutate"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/principal/subject"
)

// options are the command's flags.
type options struct {
	tlsDir         string
	webhookAddress string
	metricsAddress string
	probeAddress   string
	drainDelay     time.Duration
	controller     string
}

// serve answers admission requests until ctx is done and the requests under way are answered.
func serve(ctx context.Context, config *rest.Config, o options) error {
	host, port, err := splitAddress(o.webhookAddress)
	if err != nil {
		return fmt.Errorf("--webhook-bind-address: %w", err)
	}
	certificate, err := certwatcher.New(filepath.Join(o.tlsDir, "tls.crt"), filepath.Join(o.tlsDir, "tls.key"))
	if err != nil {
		return fmt.Errorf("serving certificate (Signet's controller or cert-manager writes it into the Secret mounted at --tls-dir): %w", err)
	}
	tlsServer := webhook.NewServer(webhook.Options{Host: host, Port: port, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.MinVersion = tls.VersionTLS12
		c.GetCertificate = certificate.GetCertificate
	}}})

	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return fmt.Errorf("kinds of %s: %w", v1alpha1.GroupVersion, err)
	}
	shared := true
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		WebhookServer:          tlsServer,
		Metrics:                metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress: o.probeAddress,
		Cache: cache.Options{
			// A kind that no informer holds is a mistake in the code, and must not become a call in the admission path.
			ReaderFailOnMissingInformer: true,
			DefaultTransform:            mutate.Seen,
			// The handlers only read, so they share the cache's objects.
			DefaultUnsafeDisableDeepCopy: &shared,
		},
	})
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	if err := mgr.Add(certificate); err != nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	ready := &readiness{certificate: certificate.GetCertificate, now: time.Now}
	for _, kind := range []client.Object{&v1alpha1.KafkaUser{}, &v1alpha1.KafkaCluster{}, &v1alpha1.PrincipalMapping{}, mutate.NamespaceMetadata()} {
		informer, err := mgr.GetCache().GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("informer for %T: %w", kind, err)
		}
		ready.synced = append(ready.synced, informer.HasSynced)
	}

	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.KafkaUser{}, mutate.WorkloadIndex, mutate.IndexWorkload); err != nil {
		return fmt.Errorf("index kafkausers: %w", err)
	}

	decisions := mutate.NewDecisions()
	if err := metrics.Registry.Register(decisions); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	defer metrics.Registry.Unregister(decisions)
	rules := mutate.Rules{
		Declaration: access.CheckDeclaration, Topic: access.CheckTopic, Subject: subject.Check,
		Claimed: principal.Claimed, Mapping: principal.Refused, SharesTrustDomain: principal.SharesTrustDomain,
	}
	tell := teller(mgr.GetEventRecorder("signet-webhook"))
	pods := func(byWorkload bool) *mutate.Pods {
		return &mutate.Pods{Reader: mgr.GetCache(), ByWorkload: byWorkload, Check: access.CheckDeclaration, Decisions: decisions, Tell: tell}
	}
	authorize, err := authorizer(config)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	server := mgr.GetWebhookServer()
	// controller-runtime bounds a request's body to 7 MiB, several times what the API server accepts of its clients.
	server.Register(mutate.PathPods, pods(false).Webhook())
	server.Register(mutate.PathWorkloadPods, pods(true).Webhook())
	server.Register(mutate.PathKafkaUsers, &admission.Webhook{Handler: mutate.NewKafkaUsers(mgr.GetCache(), rules, mutate.Authors{Authorize: authorize, Controller: o.controller}, decisions)})
	server.Register(mutate.PathKafkaTopics, &admission.Webhook{Handler: mutate.NewKafkaTopics(mgr.GetCache(), rules, decisions)})
	server.Register(mutate.PathKafkaClusters, &admission.Webhook{Handler: mutate.NewKafkaClusters(mgr.GetCache(), decisions)})
	server.Register(mutate.PathMeshIssuers, &admission.Webhook{Handler: mutate.NewMeshIssuers(mgr.GetCache(), rules, decisions)})
	server.Register(mutate.PathPrincipalMappings, &admission.Webhook{Handler: mutate.NewPrincipalMappings(mgr.GetCache(), rules, decisions)})

	started := server.StartedChecker()
	log := mgr.GetLogger().WithName("readiness")
	var last atomic.Value
	if err := mgr.AddReadyzCheck("answers", func(r *http.Request) error {
		err := ready.check()
		if err == nil {
			err = started(r)
		}
		// The response withholds the reason, so the log has to name it, once.
		reason := ""
		if err != nil {
			reason = err.Error()
		}
		if last.Swap(reason) != reason {
			log.Info("readiness changed", "ready", err == nil, "reason", reason)
		}
		return err
	}); err != nil {
		return fmt.Errorf("readyz: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("healthz: %w", err)
	}

	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() {
		select {
		case <-ctx.Done():
			// Endpoints and API servers learn with a delay that this replica goes; a request that still comes is answered.
			ready.drain()
			time.Sleep(o.drainDelay)
			stop()
		case <-serving.Done():
		}
	}()
	if err := mgr.Start(serving); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// The bounds of the events for refused pods: so many a second, after so many at once. A controller tries again all day, and
// the events of one object and sentence become a series of their own accord.
const (
	eventsPerSecond = 5
	eventsAtOnce    = 50
	// maxNote is the longest note of an event in the API (events.k8s.io/v1).
	maxNote = 1024
)

// teller makes an event of each refused pod for whom it belongs to. The recorder writes in the background.
func teller(recorder events.EventRecorder) mutate.Tell {
	limiter := flowcontrol.NewTokenBucketPassiveRateLimiter(eventsPerSecond, eventsAtOnce)
	return func(owner *corev1.ObjectReference, sentence string) {
		if limiter.TryAccept() {
			recorder.Eventf(owner, nil, corev1.EventTypeWarning, "PodRefused", "Admit", "%.*s", maxNote, sentence)
		}
	}
}

// authorizer asks the API server what somebody may do. A KafkaUser can have hundreds of entries, each a question.
func authorizer(config *rest.Config) (mutate.Authorize, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 500, 1000
	c, err := authorizationclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, who authenticationv1.UserInfo, right *authorizationv1.ResourceAttributes) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: who.Username, Groups: who.Groups, UID: who.UID, ResourceAttributes: right,
		}}
		for key, values := range who.Extra {
			if review.Spec.Extra == nil {
				review.Spec.Extra = map[string]authorizationv1.ExtraValue{}
			}
			review.Spec.Extra[key] = authorizationv1.ExtraValue(values)
		}
		answer, err := c.SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return false, err
		}
		return answer.Status.Allowed, nil
	}, nil
}

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not host:port: %w", address, err)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return "", 0, fmt.Errorf("%q: port is not a number from 1 to 65535", address)
	}
	return host, int(number), nil
}
