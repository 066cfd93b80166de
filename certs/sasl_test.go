// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// oneSecret answers with a Secret, or an error.
type oneSecret struct {
	client.Reader
	data map[string][]byte
	err  error
}

func (r *oneSecret) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	into.(*corev1.Secret).UID = "uid"
	into.(*corev1.Secret).Data = r.data
	if key != (client.ObjectKey{Namespace: "kafka", Name: "kafka-admin"}) {
		return errors.New("another Secret than the one that is named was read")
	}
	return r.err
}

func TestAdminCredentials(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	scram := v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismSCRAMSHA512, Username: "signet", SecretName: "kafka-admin"}
	token := v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismOAuthBearer, SecretName: "kafka-admin"}
	endpoint, otherKey := token, scram
	endpoint.TokenEndpoint = &v1alpha1.TokenEndpoint{}
	otherKey.SecretKey = "pass.txt"
	for name, c := range map[string]struct {
		sasl       v1alpha1.AdminSASL
		data       map[string]string
		err        error
		want, fail string
	}{
		"password":         {sasl: scram, data: map[string]string{"password": "p", "token": "t"}, want: "p"},
		"line break":       {sasl: scram, data: map[string]string{"password": " p \r\n"}, want: " p "},
		"another key":      {sasl: otherKey, data: map[string]string{"pass.txt": "p"}, want: "p"},
		"token":            {sasl: token, data: map[string]string{"token": "t"}, want: "t"},
		"client secret":    {sasl: endpoint, data: map[string]string{"clientSecret": "s", "token": "t"}, want: "s"},
		"no key":           {sasl: scram, data: map[string]string{"token": "hush"}, fail: "has no key password"},
		"empty":            {sasl: scram, data: map[string]string{"password": "\n"}, fail: "has no key password"},
		"two lines":        {sasl: token, data: map[string]string{"token": "hush\nhush"}, fail: "control characters"},
		"not there":        {sasl: scram, err: apierrors.NewNotFound(secrets, "kafka-admin"), fail: "does not exist: create it with the key password"},
		"not allowed":      {sasl: scram, err: apierrors.NewForbidden(secrets, "kafka-admin", nil), fail: "controller.adminSecrets"},
		"no answer at all": {sasl: scram, err: errors.New("down"), fail: "read secret kafka/kafka-admin: down"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := testCluster()
			cluster.Spec.Admin.SASL = &c.sasl
			reader := &oneSecret{data: map[string][]byte{}, err: c.err}
			for key, value := range c.data {
				reader.data[key] = []byte(value)
			}
			credentials := &AdminCredentials{Reader: reader}
			secret, version, err := credentials.Secret(t.Context(), cluster)
			if string(secret) != c.want || (version == "") != (c.fail != "") {
				t.Errorf("secret %q, version %q", secret, version)
			}
			if c.fail == "" {
				if err != nil || strings.Contains(version, c.want) && len(c.want) > 3 {
					t.Errorf("%v, version %s", err, version)
				}
				reader.data[SASLSecretKey(&c.sasl)] = []byte("other")
				if _, after, err := credentials.Secret(t.Context(), cluster); err != nil || after == version {
					t.Errorf("a changed secret has the same version (%v)", err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.fail) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%v, want %q", err, c.fail)
			}
		})
	}
}

// TestReferencesOfSASL holds that of a KafkaCluster with SASL exactly the one Secret is read whole, and cert-manager's is not.
func TestReferencesOfSASL(t *testing.T) {
	cluster := testCluster()
	cluster.Spec.Certificates.IssuerRef = v1alpha1.IssuerReference{Group: "cert-manager.io", Kind: "ClusterIssuer", Name: "corp"}
	cluster.Spec.Admin.SASL = &v1alpha1.AdminSASL{
		Mechanism: v1alpha1.MechanismOAuthBearer, SecretName: "kafka-admin",
		TokenEndpoint: &v1alpha1.TokenEndpoint{CA: &v1alpha1.KeyReference{ConfigMap: "idp"}},
	}
	secret, endpoint := Reference{Kind: KindSecret, Namespace: "kafka", Name: "kafka-admin"}, Reference{Kind: KindConfigMap, Namespace: "kafka", Name: "idp"}
	clusters := []v1alpha1.KafkaCluster{*cluster}
	keys, certificates := References(nil, clusters)
	if !slices.Equal(keys, []Reference{secret}) || !slices.Contains(certificates, endpoint) {
		t.Errorf("references %v, %v with keys", certificates, keys)
	}
	for _, ref := range []Reference{secret, endpoint} {
		if len(Affected(ref, clusters)) != 1 {
			t.Errorf("a change of %s is nobody's", ref)
		}
	}
}
