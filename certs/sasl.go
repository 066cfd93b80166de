// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// AdminCredentials are what Signet logs in with at KafkaClusters whose spec.admin has sasl. It implements access.AdminSASL.
type AdminCredentials struct {
	// Reader is a Named.
	Reader client.Reader
	// Authorities reads the CA of a token endpoint.
	Authorities *Authorities
}

// Secret returns the password, client secret or token of a cluster, without line breaks at its end, and a text that is
// another one whenever the secret is. Its errors say what to do, and hold nothing of the Secret.
func (c *AdminCredentials) Secret(ctx context.Context, cluster *v1alpha1.KafkaCluster) (secret []byte, version string, err error) {
	key := client.ObjectKey{Namespace: cluster.Namespace, Name: cluster.Spec.Admin.SASL.SecretName}
	field := SASLSecretKey(cluster.Spec.Admin.SASL)
	var object corev1.Secret
	switch err := c.Reader.Get(ctx, key, &object); {
	case apierrors.IsNotFound(err):
		return nil, "", fmt.Errorf("secret %s, which spec.admin.sasl names, does not exist: create it with the key %s", key, field)
	case apierrors.IsForbidden(err):
		return nil, "", fmt.Errorf("the controller may not read secret %s, which spec.admin.sasl names: list it in the chart's value controller.adminSecrets", key)
	case err != nil:
		return nil, "", fmt.Errorf("read secret %s: %w", key, err)
	}
	secret = bytes.TrimRight(object.Data[field], "\r\n")
	switch {
	case len(secret) == 0:
		return nil, "", fmt.Errorf("secret %s, which spec.admin.sasl names, has no key %s, or nothing in it", key, field)
	case bytes.ContainsFunc(secret, unicode.IsControl):
		return nil, "", fmt.Errorf("the key %s of secret %s has control characters in it", field, key)
	}
	sum := sha256.Sum256(secret)
	return secret, string(object.UID) + "/" + hex.EncodeToString(sum[:]), nil
}

// SASLSecretKey returns the key in the Secret of spec.admin.sasl.
func SASLSecretKey(sasl *v1alpha1.AdminSASL) string {
	switch {
	case sasl.SecretKey != "":
		return sasl.SecretKey
	case sasl.Mechanism.IsSCRAM():
		return "password"
	case sasl.TokenEndpoint != nil:
		return "clientSecret"
	}
	return "token"
}

// EndpointTrust returns the certificates (PEM) by which the token endpoint of a cluster is verified; nil where it names none.
func (c *AdminCredentials) EndpointTrust(ctx context.Context, cluster *v1alpha1.KafkaCluster) ([]byte, error) {
	endpoint := cluster.Spec.Admin.SASL.TokenEndpoint
	if endpoint == nil || endpoint.CA == nil {
		return nil, nil
	}
	certificates, err := c.Authorities.referenced(ctx, cluster, endpoint.CA, "spec.admin.sasl.tokenEndpoint.ca")
	if err != nil {
		return nil, err
	}
	return EncodeCertificates(certificates), nil
}
