// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Exit codes of Run.
const (
	// ExitOK: done; for status, everything is ready.
	ExitOK = 0
	// ExitNotReady: status found something that is not ready, explain no principal, convert something that it
	// cannot convert, preflight something that would be denied, enforce a KafkaUser that it left as it is.
	ExitNotReady = 1
	// ExitError: it could not be done or found out; the reason is on the error stream.
	ExitError = 2
)

// errNotReady ends a command whose output has already said what is not as it should be.
var errNotReady = errors.New("not everything is ready")

// Run carries out one command line and returns the exit code.
func Run(ctx context.Context, args []string, streams genericiooptions.IOStreams, version string) int {
	cmd := newCommand(genericclioptions.NewConfigFlags(true), streams, version)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errNotReady):
		return ExitNotReady
	default:
		fmt.Fprintf(streams.ErrOut, "error: %s\n", printableLines(err.Error()))
		return ExitError
	}
}

func newCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams, version string) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "kubectl-signet",
		Short:         "Identity and access for Kafka clients on Kubernetes",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl signet"},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	cmd.SetIn(streams.In)
	cmd.SetOut(streams.Out)
	cmd.SetErr(streams.ErrOut)
	config.AddFlags(cmd.PersistentFlags())
	cmd.AddCommand(
		newStatusCommand(config, streams),
		newSignCommand(config, streams),
		newRenewCommand(config, streams),
		newExportCommand(config, streams),
		newExplainCommand(config, streams),
		newGenerateCommand(config, streams),
		newConvertCommand(config, streams),
		newDiffCommand(config, streams),
		newGrandfatherCommand(config, streams),
		newSuggestCommand(config, streams),
		newPreflightCommand(config, streams),
		newEnforceCommand(config, streams),
		newClientsCommand(streams, "consumers", "consume", "READ"),
		newClientsCommand(streams, "producers", "produce", "WRITE"),
		newAccessCommand(streams),
		newNamingCommand(config, streams),
		newVersionCommand(streams, version),
	)
	return cmd
}

func newVersionCommand(streams genericiooptions.IOStreams, version string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this command",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(streams.Out, "kubectl-signet %s (%s, %s/%s)\n", cmp.Or(version, moduleVersion()), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// moduleVersion is the version that the Go toolchain recorded: that of go install module@version, else "(devel)".
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	return cmp.Or(info.Main.Version, "(devel)")
}

// connect returns a client with the caller's own rights, and the namespace that the flags or the context name.
func connect(config *genericclioptions.ConfigFlags) (client.Client, string, error) {
	namespace, _, err := config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("read kubeconfig: %w", err)
	}
	rest, err := config.ToRESTConfig()
	if err != nil {
		return nil, "", fmt.Errorf("read kubeconfig: %w", err)
	}
	scheme := kruntime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, "", err
	}
	c, err := client.New(rest, client.Options{Scheme: scheme})
	if err != nil {
		return nil, "", fmt.Errorf("connect to the cluster: %w", err)
	}
	return c, namespace, nil
}

// explain turns the errors that mean something else than they say.
func explain(err error) error {
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("this cluster does not know the kinds of kafka.signet.dev: install the Helm chart signet first (%w)", err)
	}
	return err
}
