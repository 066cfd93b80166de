package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/metrics"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	"github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	"github.com/cert-manager/cert-manager/pkg/controller/issuers"
	"github.com/cert-manager/cert-manager/pkg/healthz"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"         // registers the issuer type
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned" // registers the issuer type
)

// controllers are the names of cert-manager's default controllers, without those of ACME, Vault and Venafi and
// without the ingress shim.
func controllers() []string {
	return []string{
		issuers.ControllerName,
		clusterissuers.ControllerName,
		metrics.ControllerName,
		approver.ControllerName,
		ca.CRControllerName,
		selfsigned.CRControllerName,
		trigger.ControllerName,
		issuing.ControllerName,
		keymanager.ControllerName,
		requestmanager.ControllerName,
		readiness.ControllerName,
		revisionmanager.ControllerName,
	}
}

func newControllerCommand() *cobra.Command {
	options := controller.ContextOptions{
		KubernetesAPIQPS:   200,
		KubernetesAPIBurst: 500,
		IssuerOptions:      controller.IssuerOptions{ClusterIssuerAmbientCredentials: true},
		CertificateOptions: controller.CertificateOptions{
			CopiedAnnotationPrefixes:                 []string{"*", "-kubectl.kubernetes.io/", "-fluxcd.io/", "-argocd.argoproj.io/"},
			CertificateRequestMinimumBackoffDuration: time.Hour,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
	}
	var metricsAddress, healthAddress string
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "issues and renews certificates",
		Args:  cobra.NoArgs,
		// The chart also passes flags of the issuers and of the leader election that are left out here.
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runController(cmd.Context(), options, metricsAddress, healthAddress)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.Kubeconfig, "kubeconfig", "", "path of a kubeconfig; empty means the pod's own service account")
	flags.StringVar(&options.ClusterResourceNamespace, "cluster-resource-namespace", "kube-system", "namespace of the Secrets that ClusterIssuers name")
	flags.BoolVar(&options.EnableOwnerRef, "enable-certificate-owner-ref", false, "delete a certificate's Secret together with the Certificate")
	flags.StringVar(&metricsAddress, "metrics-listen-address", "0.0.0.0:9402", "host and port of the metrics endpoint")
	flags.StringVar(&healthAddress, "healthz-listen-address", "0.0.0.0:9403", "host and port of the liveness endpoint")
	return withLogging(cmd)
}

func runController(ctx context.Context, options controller.ContextOptions, metricsAddress, healthAddress string) error {
	factory, err := controller.NewContextFactory(ctx, options)
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	shared, err := factory.Build()
	if err != nil {
		return fmt.Errorf("controller context: %w", err)
	}
	listen := net.ListenConfig{}
	healthListener, err := listen.Listen(ctx, "tcp", healthAddress)
	if err != nil {
		return fmt.Errorf("liveness endpoint: %w", err)
	}
	metricsListener, err := listen.Listen(ctx, "tcp", metricsAddress)
	if err != nil {
		return fmt.Errorf("metrics endpoint: %w", err)
	}
	metricsServer := shared.Metrics.NewServer(metricsListener)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return healthz.NewServer(20*time.Second).Start(ctx, healthListener) })
	group.Go(func() error { return metricsServer.Serve(metricsListener) })
	group.Go(func() error {
		<-ctx.Done()
		return metricsServer.Close()
	})
	for _, name := range controllers() {
		run, err := controller.Known()[name](factory)
		if err != nil {
			return fmt.Errorf("controller %s: %w", name, err)
		}
		group.Go(func() error { return run.Run(5, ctx) })
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
