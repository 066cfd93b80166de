package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// installIstio installs istiod from the charts inside Istio's module and waits until it has made its CA
// (istio-system/istio-ca-secret) and its injector is trusted by the API server. Pods get a sidecar in namespaces
// labelled istio-injection=enabled, which works when the proxy image was loaded (--mesh).
func installIstio(ctx context.Context, c *Cluster) error {
	dir, err := moduleDir(ctx, filepath.Join(c.Source, "components", "istio"), "istio.io/istio")
	if err != nil {
		return err
	}
	var manifests strings.Builder
	manifests.WriteString(namespaceManifest("istio-system"))
	for _, chart := range []struct{ name, dir string }{
		{"istio-base", "base"},
		{"istiod", "istio-control/istio-discovery"},
	} {
		rendered, err := release{
			dir:        filepath.Join(dir, "manifests", "charts", chart.dir),
			name:       chart.name,
			namespace:  "istio-system",
			kubernetes: c.Version,
			values:     istioValues(),
		}.render()
		if err != nil {
			return err
		}
		manifests.WriteString(rendered)
	}
	if err := apply(ctx, c, manifests.String()); err != nil {
		return fmt.Errorf("istio: %w", err)
	}
	if err := rollout(ctx, c, "istio-system", "istiod"); err != nil {
		return fmt.Errorf("istio: %w", err)
	}
	err = eventually(ctx, c, "istio-system", time.Minute, func(ctx context.Context) error {
		if _, err := c.Kubectl(ctx, nil, "--namespace", "istio-system", "get", "secret", "istio-ca-secret"); err != nil {
			return err
		}
		bundle, err := c.Kubectl(ctx, nil, "get", "mutatingwebhookconfiguration", "istio-sidecar-injector",
			"--output=jsonpath={.webhooks[*].clientConfig.caBundle}")
		if err == nil && len(bundle) == 0 {
			err = errors.New("istio-sidecar-injector has no CA bundle yet")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("istio: %w", err)
	}
	c.Progress("istio %s is ready", istioVersion)
	return nil
}

// istioValues are the values of both charts. Telemetry, Prometheus merging, metadata exchange and the ALPN filter are
// off because they are extensions of Istio's own Envoy: a stock Envoy rejects every listener that names one.
func istioValues() map[string]any {
	return map[string]any{
		"global": map[string]any{
			"hub":             imagePrefix + "istio",
			"tag":             istioVersion,
			"imagePullPolicy": "Never",
			"proxy":           map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "64Mi"}}},
		},
		"autoscaleEnabled": false,
		"resources":        map[string]any{"requests": map[string]any{"cpu": "50m", "memory": "256Mi"}},
		"telemetry":        map[string]any{"enabled": false},
		"meshConfig":       map[string]any{"enablePrometheusMerge": false},
		"env": map[string]any{
			"PILOT_ENABLE_METADATA_EXCHANGE": "false",
			"PILOT_ENABLE_ALPN_FILTER":       "false",
		},
	}
}
