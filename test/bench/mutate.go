// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/mutate"
)

// nobody is a cache that holds no KafkaUser.
type nobody struct{ client.Reader }

func (nobody) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "kafkausers"}, key.Name)
}

// mutatePairs compare the mutation of a pod, from the bytes of the request to those of the response, with
// controller-runtime's own work for a handler that does nothing.
func mutatePairs() ([]pair, error) {
	var pairs []pair
	for _, containers := range []int{1, 5, 15} {
		pod := corev1.Pod{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{GenerateName: "checkout-", Namespace: "shop", Annotations: map[string]string{"kafka.signet.dev/user": "checkout"}},
		}
		for i := range containers {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: "registry.example.com/checkout:1"})
		}
		raw, err := json.Marshal(pod)
		if err != nil {
			return nil, err
		}
		review, err := json.Marshal(admissionv1.AdmissionReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
			Request:  &admissionv1.AdmissionRequest{UID: "1", Namespace: "shop", Operation: admissionv1.Create, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Object: runtime.RawExtension{Raw: raw}},
		})
		if err != nil {
			return nil, err
		}
		empty := admission.HandlerFunc(func(context.Context, admission.Request) admission.Response { return admission.Allowed("") })
		pairs = append(pairs, pair{
			name: fmt.Sprintf("mutate-%d-containers", containers), unit: "us", target: 2.5,
			subject:  serve(&mutate.Pods{Reader: nobody{}, Check: access.CheckDeclaration, Decisions: mutate.NewDecisions()}, review),
			baseline: serve(empty, review),
		})
	}
	return pairs, nil
}

func serve(handler admission.Handler, review []byte) func(*testing.B) {
	webhook := &admission.Webhook{Handler: handler}
	return func(b *testing.B) {
		for b.Loop() {
			request := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/", bytes.NewReader(review))
			request.Header.Set("Content-Type", "application/json")
			response := httptest.NewRecorder()
			webhook.ServeHTTP(response, request)
			if response.Code != http.StatusOK || !bytes.Contains(response.Body.Bytes(), []byte(`"allowed":true`)) {
				b.Fatal(response.Code, response.Body)
			}
		}
	}
}
