// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Command kubectl-signet is the kubectl plugin of Signet: put it on the PATH and call it as kubectl signet.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/signet-kafka/signet/cmd/kubectl-signet/cli"
)

// version is set by the linker; a build without it says what the Go toolchain knows.
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(cli.Run(ctx, os.Args[1:], streams, version))
}
