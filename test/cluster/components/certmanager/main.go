package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	logsapi "k8s.io/component-base/logs/api/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cert-manager/cert-manager/pkg/logs"
)

func main() {
	logs.InitLogs()
	defer logs.FlushLogs()
	ctrl.SetLogger(logs.Log)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	root := &cobra.Command{Use: "cert-manager", SilenceUsage: true}
	root.AddCommand(newControllerCommand(), newWebhookCommand(), newCAInjectorCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}

// withLogging adds cert-manager's logging flags (--v and so on) to cmd and applies them before it runs.
func withLogging(cmd *cobra.Command) *cobra.Command {
	config := logsapi.NewLoggingConfiguration()
	logs.AddFlags(config, cmd.Flags())
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if err := logs.ValidateAndApply(config); err != nil {
			return fmt.Errorf("logging flags: %w", err)
		}
		return nil
	}
	return cmd
}
