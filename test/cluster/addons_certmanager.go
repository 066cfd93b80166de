package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// certManagerVersion is the version that components/certmanager requires; a test compares them.
const certManagerVersion = "v1.21.2"

// installCertManager installs cert-manager from the chart inside its own module and waits until its webhook admits
// objects. Its approver may approve requests for cert-manager's own issuers only, as the chart has it.
func installCertManager(ctx context.Context, c *Cluster) error {
	dir, err := moduleDir(ctx, filepath.Join(c.Source, "components", "certmanager"), "github.com/cert-manager/cert-manager")
	if err != nil {
		return err
	}
	manifests, err := release{
		dir:        filepath.Join(dir, "deploy", "charts", "cert-manager"),
		name:       "cert-manager",
		namespace:  "cert-manager",
		version:    certManagerVersion,
		kubernetes: c.Version,
		values:     certManagerValues(),
	}.render()
	if err != nil {
		return err
	}
	if err := apply(ctx, c, namespaceManifest("cert-manager")+manifests); err != nil {
		return fmt.Errorf("cert-manager: %w", err)
	}
	if err := rollout(ctx, c, "cert-manager", "cert-manager", "cert-manager-webhook", "cert-manager-cainjector"); err != nil {
		return fmt.Errorf("cert-manager: %w", err)
	}
	// Ready pods are not enough: the API server trusts the webhook only once cainjector has written its CA.
	err = eventually(ctx, c, "cert-manager", time.Minute, func(ctx context.Context) error {
		_, err := c.Kubectl(ctx, strings.NewReader(probeIssuer), "create", "--dry-run=server", "--filename", "-")
		return err
	})
	if err != nil {
		return fmt.Errorf("cert-manager's webhook: %w", err)
	}
	c.Progress("cert-manager %s is ready", certManagerVersion)
	return nil
}

const probeIssuer = `apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: probe, namespace: cert-manager}
spec: {selfSigned: {}}
`

// certManagerValues are the chart's values: our images, one replica each, and probes that notice readiness at once.
func certManagerValues() map[string]any {
	image := func(component string) map[string]any {
		return map[string]any{"repository": imagePrefix + "cert-manager/" + component, "tag": certManagerVersion, "pullPolicy": "Never"}
	}
	return map[string]any{
		"global":          map[string]any{"leaderElection": map[string]any{"namespace": "cert-manager"}},
		"crds":            map[string]any{"enabled": true},
		"startupapicheck": map[string]any{"enabled": false},
		"image":           image("controller"),
		"cainjector":      map[string]any{"image": image("cainjector")},
		"webhook": map[string]any{
			"image":          image("webhook"),
			"readinessProbe": map[string]any{"initialDelaySeconds": 0, "periodSeconds": 1},
		},
	}
}

func namespaceManifest(name string) string {
	return "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}\n---\n"
}
