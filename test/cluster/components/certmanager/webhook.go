package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cert-manager/cert-manager/internal/webhook"
	"github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/webhook/options"
)

func newWebhookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "validates cert-manager's resources and who may approve a CertificateRequest",
		Args:  cobra.NoArgs,
	}
	config, configErr := options.NewWebhookConfiguration()
	if configErr == nil {
		options.AddConfigFlags(cmd.Flags(), config)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if configErr != nil {
			return fmt.Errorf("default configuration: %w", configErr)
		}
		if err := logs.ValidateAndApply(&config.Logging); err != nil {
			return fmt.Errorf("logging flags: %w", err)
		}
		server, err := webhook.NewCertManagerWebhookServer(logs.Log, *config)
		if err != nil {
			return fmt.Errorf("webhook server: %w", err)
		}
		return server.Run(cmd.Context())
	}
	return cmd
}
