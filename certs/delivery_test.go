// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func TestDeliver(t *testing.T) {
	mesh := FromMeshIssuer(testIssuer())
	direct, stepCA := mesh, mesh
	direct.Mode, stepCA.Mode = v1alpha1.ModeDirect, v1alpha1.ModeStepCA
	stock := FromStockIssuer(v1alpha1.IssuerReference{Kind: "Issuer", Name: "ca"}, nil)
	able := Platform{Served: true, Nodes: 3}
	old := Platform{Served: true, Nodes: 3, OldNode: `node a (kubelet "v1.36.0")`}
	const auto, secret, kubelet = v1alpha1.DeliveryAuto, v1alpha1.DeliverySecret, v1alpha1.DeliveryPodCertificate
	for name, test := range map[string]struct {
		wanted   v1alpha1.Delivery
		issuer   Issuer
		platform Platform
		by       v1alpha1.Delivery
		secret   bool
		problem  string
	}{
		"auto":                      {auto, mesh, able, kubelet, true, ""},
		"nothing said is auto":      {"", mesh, able, kubelet, true, ""},
		"auto, direct":              {auto, direct, able, kubelet, true, ""},
		"auto, step-ca":             {auto, stepCA, able, secret, true, ""},
		"auto, stock issuer":        {auto, stock, able, secret, true, ""},
		"auto, old API server":      {auto, mesh, Platform{Nodes: 3}, secret, true, ""},
		"auto, old node":            {auto, mesh, old, secret, true, ""},
		"auto, no node":             {auto, mesh, Platform{Served: true}, secret, true, ""},
		"secret":                    {secret, mesh, able, secret, true, ""},
		"kubelet":                   {kubelet, mesh, able, kubelet, false, ""},
		"kubelet, no node":          {kubelet, mesh, Platform{Served: true}, kubelet, false, ""},
		"kubelet, old node":         {kubelet, mesh, old, "", false, `node a (kubelet "v1.36.0") is older than 1.37`},
		"kubelet, old API server":   {kubelet, mesh, Platform{Nodes: 3}, "", false, "does not serve podcertificaterequests"},
		"kubelet, step-ca":          {kubelet, stepCA, able, "", false, "meshissuer mesh has a step-ca sign"},
		"kubelet, stock issuer":     {kubelet, stock, able, "", false, "issuer ca is cert-manager's"},
		"kubelet, nothing possible": {kubelet, stock, Platform{}, "", false, "issuer ca is cert-manager's"},
	} {
		t.Run(name, func(t *testing.T) {
			user := testUser()
			user.Spec.Certificate = &v1alpha1.UserCertificate{Delivery: test.wanted}
			got := Deliver(user, test.issuer, test.platform)
			if got.By != test.by || got.Secret != test.secret || (got.Problem == "") != (test.problem == "") || !strings.Contains(got.Problem, test.problem) {
				t.Errorf("got %+v", got)
			}
			if want := "kafka.signet.dev/mesh"; (got.SignerName == want) != (test.by == kubelet) || got.SignerName != "" && got.SignerName != want {
				t.Errorf("signer %q", got.SignerName)
			}
			if strings.ContainsAny(got.Problem, "\r\n") {
				t.Errorf("no sentence: %q", got.Problem)
			}
		})
	}
	user := testUser()
	if got := Deliver(user, mesh, able); got.By != kubelet {
		t.Errorf("no settings at all: %+v", got)
	}
	for wanted, want := range map[v1alpha1.Delivery]Delivery{
		"": {By: secret, Secret: true}, auto: {By: secret, Secret: true}, secret: {By: secret, Secret: true},
		kubelet: {Problem: "spec.certificate.delivery PodCertificate is impossible: the kubelet makes no keystores (spec.certificate.keystores), which come with the Secret; leave them out, or use the delivery Secret"},
	} {
		user.Spec.Certificate = &v1alpha1.UserCertificate{Delivery: wanted, Keystores: []v1alpha1.KeystoreFormat{v1alpha1.KeystoreJKS}}
		if got := Deliver(user, mesh, able); got != want {
			t.Errorf("%q with keystores: %+v, want %+v", wanted, got, want)
		}
	}
}

func TestKubeletCan(t *testing.T) {
	for version, want := range map[string]bool{
		"v1.37.0": true, "v1.37.1": true, "v1.38.0": true, "v2.0.0": true, "1.37.2": true,
		"v1.37.1-gke.1234000": true, "v1.37.0+k3s1": true, "v1.37.0-eks-abc1234": true, "v1.100.0": true,
		"v1.36.9": false, "v1.36.9-gke.1": false, "v1.4.0": false, "v0.99.0": false,
		"v1.15.2-vk-azure-aci-1.4.4": false, "": false, "v1": false, "unknown": false, "v1.37": true,
	} {
		if got := kubeletCan(version); got != want {
			t.Errorf("%q: %v, want %v", version, got, want)
		}
	}
}

// TestKubelets compares, over random nodes that come, change and go, what is kept with what a look at all of them says, and
// that every change of that is told of.
func TestKubelets(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	versions := []string{"v1.36.2", "v1.37.0", "v1.37.1", "v1.38.0", ""}
	for range 50 {
		var k kubelets
		nodes := map[string]string{}
		for range 200 {
			before := k.platform(true)
			name := fmt.Sprintf("node-%d", random.IntN(6))
			var able, named bool
			if random.IntN(3) == 0 {
				delete(nodes, name)
				able, named = k.forget(name)
			} else {
				nodes[name] = versions[random.IntN(len(versions))]
				able, named = k.observe(name, nodes[name])
			}
			want := Platform{Served: true, Nodes: len(nodes)}
			for i := range 6 {
				name := fmt.Sprintf("node-%d", i)
				if version, exists := nodes[name]; exists && !kubeletCan(version) {
					want.OldNode = fmt.Sprintf("node %s (kubelet %q)", name, version)
					break
				}
			}
			got := k.platform(true)
			if got != want {
				t.Fatalf("%v: %+v, want %+v", nodes, got, want)
			}
			can := func(p Platform) bool { return p.Nodes > 0 && p.OldNode == "" }
			if able != (can(before) != can(got)) || named != (before.OldNode != got.OldNode) {
				t.Fatalf("from %+v to %+v: able %v, named %v", before, got, able, named)
			}
		}
	}
}

func TestOnlyKubeletVersion(t *testing.T) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "7", Labels: map[string]string{"zone": "b"}},
		Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v1.37.1", MachineID: "x"}, Images: make([]corev1.ContainerImage, 50)},
	}
	kept, err := OnlyKubeletVersion(node)
	if err != nil {
		t.Fatal(err)
	}
	small := kept.(*corev1.Node)
	if small.Name != "a" || small.ResourceVersion != "7" || small.Status.NodeInfo.KubeletVersion != "v1.37.1" || small.Labels != nil || small.Status.Images != nil || small.Status.NodeInfo.MachineID != "" {
		t.Errorf("kept %+v", small)
	}
	if other, err := OnlyKubeletVersion("a tombstone"); err != nil || other != "a tombstone" {
		t.Errorf("%v, %v", other, err)
	}
}
