// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Command webhook is Signet's admission server: it mutates pods that declare Kafka access and validates Signet's own kinds.
//
// It reads KafkaUsers, KafkaClusters, PrincipalMappings and the metadata of namespaces through informers, writes nothing to
// the API server but events, and sees no key but that of its own serving certificate, which it reads from files and reloads
// when they change.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// version is set by the linker.
var version = "dev"

func main() {
	var o options
	var level slog.Level
	flag.StringVar(&o.tlsDir, "tls-dir", "/etc/signet/tls", "directory of the serving certificate: tls.crt and tls.key (PEM); read again when they change")
	flag.StringVar(&o.webhookAddress, "webhook-bind-address", ":9443", "host:port that admission requests come to, over TLS")
	flag.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "host:port of /metrics, plain HTTP; 0 turns it off")
	flag.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "host:port of /healthz and /readyz, plain HTTP")
	flag.DurationVar(&o.drainDelay, "drain-delay", 5*time.Second, "how long to serve on after the order to stop, not ready, until nobody sends requests here any more")
	flag.StringVar(&o.controller, "controller", "system:serviceaccount:signet-system:signet-controller", "user name of Signet's controller, which makes KafkaUsers of what pods declare")
	flag.TextVar(&level, "log-level", slog.LevelInfo, "least severity that is logged: debug, info, warn or error")
	flag.Parse()

	handler := slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	klog.SetSlogLogger(slog.New(handler))

	ctrl.Log.Info("starting", "version", version)

	config, err := ctrl.GetConfig()
	if err == nil {
		err = serve(ctrl.SetupSignalHandler(), config, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "webhook:", err)
		os.Exit(1)
	}
}
