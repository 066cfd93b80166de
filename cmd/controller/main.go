// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Command controller is everything of Signet that writes: it signs certificates, keeps the ledger of principals, renders
// what clients and brokers mount, keeps ACLs and topics, says what clients were seen to do, and makes the webhook's serving
// certificate. One replica works at a time (leader election).
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/declare"
	"github.com/signet-kafka/signet/issuer"
	"github.com/signet-kafka/signet/observe"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/readiness"
)

// version is set by the linker.
var version = "dev"

type options struct {
	metrics, probes      string
	leaderElect          bool
	namespace            string
	manageServing        bool
	webhookService       string
	webhookConfiguration string
	certManager          string
	driftPeriod          time.Duration
	logLevel             string
	rotation             certs.RotationSettings
	// registry takes Signet's own metrics.
	registry prometheus.Registerer
	// brokers are asked whether they trust a new CA; nil for the KafkaClusters' own.
	brokers issuer.Brokers
}

func main() {
	o := options{rotation: certs.DefaultRotation, registry: metrics.Registry}
	flag.StringVar(&o.metrics, "metrics-bind-address", ":8080", "address of the Prometheus metrics; 0 turns them off")
	flag.StringVar(&o.probes, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	flag.BoolVar(&o.leaderElect, "leader-elect", false, "work only while holding the lease signet-controller in --namespace")
	flag.StringVar(&o.namespace, "namespace", "signet-system", "namespace of Signet's own Secrets and lease")
	flag.BoolVar(&o.manageServing, "manage-serving-certificate", true, "make and renew the webhook's serving certificate and keep caBundle; false where cert-manager does")
	flag.StringVar(&o.webhookService, "webhook-service", "signet-webhook", "name of the webhook's Service in --namespace")
	flag.StringVar(&o.webhookConfiguration, "webhook-configuration", "signet", "name of the webhook configurations whose caBundle to keep")
	flag.StringVar(&o.certManager, "cert-manager-service-account", "system:serviceaccount:cert-manager:cert-manager", "user name of cert-manager's controller; requests of anybody else are denied")
	flag.DurationVar(&o.driftPeriod, "drift-period", 5*time.Minute, "time between two comparisons of Kafka's whole state with what is declared")
	flag.DurationVar(&o.rotation.Settle, "ca-settle", certs.DefaultRotation.Settle, "how long a new CA is in every trust bundle before it signs")
	flag.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	flag.Parse()
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		fmt.Fprintln(os.Stderr, "controller:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	handler := slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	log := logr.FromSlogHandler(handler)
	ctrl.SetLogger(log)
	klog.SetSlogLogger(slog.New(handler))
	log.Info("starting", "version", version)
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	// The default of 20 requests a second would make a thousand new users wait for minutes.
	// Signing for pods is one write each, at up to a thousand a second; the API server defends itself (KEP-1040).
	config.QPS, config.Burst = 2000, 4000
	// It would have the API server compress every event of a watch, which costs more than the bytes within a cluster.
	config.DisableCompression = true
	mgr, err := ctrl.NewManager(config, managerOptions(o))
	if err != nil {
		return err
	}
	if err := setup(mgr, o, log, time.Now); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func managerOptions(o options) ctrl.Options {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, cmv1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // two packages registered one kind: a programming error
		}
	}
	return ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       metricsserver.Options{BindAddress: o.metrics},
		HealthProbeBindAddress:        o.probes,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "signet-controller",
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
		Cache: cache.Options{
			// Of ConfigMaps only Signet's own are kept in memory, of Nodes only the version of the kubelet.
			ByObject: map[client.Object]cache.ByObject{
				&corev1.ConfigMap{}: {Label: labels.SelectorFromSet(labels.Set{certs.LabelManagedBy: certs.ManagedBy})},
				&corev1.Node{}:      {Transform: certs.OnlyKubeletVersion},
				// Of roles only what they say of topics.
				&rbacv1.Role{}:        {Transform: declare.OnlyTopicRules},
				&rbacv1.ClusterRole{}: {Transform: declare.OnlyTopicRules},
				// Of Pods only those that declare access themselves, and of these their declaration.
				&corev1.Pod{}: {Label: inlinePods(), Transform: declare.OnlyDeclaration},
			},
		},
		// Secrets are read one by one, by name; see certs.Named.
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	}
}

// inlinePods selects the pods that declare access themselves.
func inlinePods() labels.Selector {
	declares, err := labels.NewRequirement(v1alpha1.LabelInline, selection.Exists, nil)
	if err != nil {
		panic(err) // the key is a constant
	}
	return labels.NewSelector().Add(*declares)
}

// setup is the list of what runs.
func setup(mgr ctrl.Manager, o options, log logr.Logger, now func() time.Time) error {
	clientset, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return err
	}
	c, live := mgr.GetClient(), mgr.GetAPIReader()
	named := certs.NewNamed(certs.ListWatch(clientset), live, c)
	if err := mgr.Add(named); err != nil {
		return err
	}
	authorities := certs.NewAuthorities(named, live, c, o.namespace)
	signers := issuer.NewSigners(named, authorities)
	own := issuer.NewOwnCertificates(named, authorities, signers, log.WithName("audit"), now)
	var system corev1.Namespace
	if err := live.Get(context.Background(), client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
		return fmt.Errorf("read namespace %s: %w", metav1.NamespaceSystem, err)
	}
	connections := access.NewConnections(own, string(system.UID))
	connections.SASL = &certs.AdminCredentials{Reader: named, Authorities: authorities}
	brokers := o.brokers
	if brokers == nil {
		brokers = connections
	}
	closing := manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		connections.CloseAll()
		return nil
	})
	if err := mgr.Add(closing); err != nil {
		return err
	}
	podCertificates, err := issuer.Served(clientset.Discovery())
	if err != nil {
		return err
	}
	decisions, err := issuer.NewMetrics(o.registry)
	if err != nil {
		return err
	}
	if err := o.registry.Register(issuer.NewExpiry(c)); err != nil {
		return fmt.Errorf("register the metrics of expiry: %w", err)
	}
	if err := o.registry.Register(readiness.NewObjects(c)); err != nil {
		return fmt.Errorf("register the metrics of readiness: %w", err)
	}
	observations, err := observe.NewMetrics(o.registry)
	if err != nil {
		return err
	}
	authority := issuer.NewRegistrationAuthority(c, signers, decisions, log.WithName("audit"), podCertificates, now)
	controllers := []interface{ SetupWithManager(ctrl.Manager) error }{
		&certs.Sources{Client: c, Named: named, Authorities: authorities},
		&certs.AdminCertificates{Client: c},
		&certs.UserController{Client: c, Live: live, Named: named, Authorities: authorities, PodCertificates: podCertificates, Recorder: mgr.GetEventRecorder("signet-certs"), Now: now},
		&issuer.MeshIssuerController{
			Client: c, Named: named, Authorities: authorities, Signers: signers, Rotation: o.rotation,
			Verifiers: &issuer.ClusterVerifiers{Client: c, Live: live, Authorities: authorities, Own: own, Brokers: brokers},
			Recorder:  mgr.GetEventRecorder("signet-issuer"), Now: now,
		},
		&issuer.RequestController{Client: c, Live: live, Authority: authority, CertManager: o.certManager, Recorder: mgr.GetEventRecorder("signet-issuer")},
		&issuer.SigningController{Client: c, Live: live, Authority: authority, Recorder: mgr.GetEventRecorder("signet-issuer")},
		&principal.Users{Client: c, Events: mgr.GetEventRecorder("signet-principal"), Now: now},
		&principal.Clusters{
			Client: c, Live: live, TrustReason: certs.ReasonOf, Now: now,
			ClientTrust:  authorities.ClientTrust,
			TrustChanges: []source.Source{named.Source(certs.ClusterRequests(c)), authorities.TrustSource(certs.ClustersOfIssuers(c))},
		},
		&access.ClusterController{Client: c, Connections: connections, Changes: []source.Source{named.Source(certs.ClusterRequests(c))}, Events: mgr.GetEventRecorder("signet-access"), Period: 30 * time.Second, Now: now},
		&access.UserController{Client: c, Connections: connections, Events: mgr.GetEventRecorder("signet-access"), Period: o.driftPeriod, Now: now},
		&access.TopicController{Client: c, Connections: connections, Events: mgr.GetEventRecorder("signet-access"), Period: o.driftPeriod, Now: now},
		&access.TopicUsersController{Client: c},
		&observe.Controller{Client: c, Kafka: connections, Metrics: observations, Period: 30 * time.Second, Now: now},
		&declare.Roles{Client: c, Check: access.CheckDeclaration, Recorder: mgr.GetEventRecorder("signet-declare")},
		&declare.Pods{Client: c, Live: live, Recorder: mgr.GetEventRecorder("signet-declare")},
		&readiness.Users{Client: c, Now: now},
		&readiness.Clusters{Client: c, Now: now},
	}
	if o.manageServing {
		service := o.webhookService + "." + o.namespace
		controllers = append(controllers, &certs.ServingController{
			Client: c, Named: named, Namespace: o.namespace, CASecret: "signet-webhook-ca", Secret: "signet-webhook-tls",
			WebhookConfiguration: o.webhookConfiguration, DNSNames: []string{service + ".svc", service}, Now: now,
		})
	}
	if podCertificates {
		controllers = append(controllers, &issuer.PodController{Client: c, Live: live, Authority: authority, Recorder: mgr.GetEventRecorder("signet-issuer")})
	}
	for _, controller := range controllers {
		if err := controller.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("%T: %w", controller, err)
		}
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("ping", healthz.Ping)
}
