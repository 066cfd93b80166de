// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"math/rand/v2"
	"reflect"
	"testing"

	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func quantity(text string) *apiresource.Quantity {
	q := apiresource.MustParse(text)
	return &q
}

func TestQuotasOf(t *testing.T) {
	defaults := &v1alpha1.Quotas{ProducerByteRate: quantity("1Mi"), RequestPercentage: quantity("50")}
	for name, test := range map[string]struct {
		defaults, own *v1alpha1.Quotas
		want          Quotas
	}{
		"none":         {nil, nil, Quotas{}},
		"the defaults": {defaults, nil, Quotas{producerByteRate: 1 << 20, requestPercentage: 50}},
		"its own":      {nil, &v1alpha1.Quotas{ConsumerByteRate: quantity("10M"), ControllerMutationRate: quantity("500m")}, Quotas{consumerByteRate: 1e7, controllerMutationRate: 0.5}},
		"its own before the defaults": {defaults, &v1alpha1.Quotas{ProducerByteRate: quantity("5"), ConsumerByteRate: quantity("7")},
			Quotas{producerByteRate: 5, consumerByteRate: 7, requestPercentage: 50}},
		"an empty one is no opinion": {defaults, &v1alpha1.Quotas{}, Quotas{producerByteRate: 1 << 20, requestPercentage: 50}},
	} {
		t.Run(name, func(t *testing.T) {
			user := newUser(func(s *v1alpha1.KafkaUserSpec) { s.Quotas = test.own })
			if got := QuotasOf(user, newCluster(v1alpha1.ClusterPolicy{DefaultQuotas: test.defaults})); !reflect.DeepEqual(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestDiffQuotas(t *testing.T) {
	const me, other = "User:shop.orders", "User:by.hand"
	for name, test := range map[string]struct {
		desired, existing map[string]Quotas
		uncertain         map[string]bool
		want              []QuotaChange
	}{
		"nothing":  {map[string]Quotas{me: nil}, nil, nil, nil},
		"set":      {map[string]Quotas{me: {producerByteRate: 1}}, nil, nil, []QuotaChange{{me, Quotas{producerByteRate: 1}, nil}}},
		"as it is": {map[string]Quotas{me: {producerByteRate: 1}}, map[string]Quotas{me: {producerByteRate: 1}}, nil, nil},
		"change one, keep one": {map[string]Quotas{me: {producerByteRate: 1, consumerByteRate: 3}}, map[string]Quotas{me: {producerByteRate: 2, consumerByteRate: 3}}, nil,
			[]QuotaChange{{me, Quotas{producerByteRate: 1}, nil}}},
		"remove what nobody declares": {map[string]Quotas{me: {}}, map[string]Quotas{me: {producerByteRate: 2, "of_tomorrow": 1}}, nil,
			[]QuotaChange{{me, Quotas{}, []string{"of_tomorrow", producerByteRate}}}},
		"another's stay": {map[string]Quotas{me: nil}, map[string]Quotas{other: {producerByteRate: 2}}, nil, nil},
		"uncertain": {map[string]Quotas{me: {producerByteRate: 1}}, map[string]Quotas{me: {producerByteRate: 1}}, map[string]bool{me: true},
			[]QuotaChange{{me, Quotas{producerByteRate: 1}, []string{consumerByteRate, controllerMutationRate, requestPercentage}}}},
		"sorted": {map[string]Quotas{other: {producerByteRate: 1}, me: {producerByteRate: 1}}, nil, nil,
			[]QuotaChange{{other, Quotas{producerByteRate: 1}, nil}, {me, Quotas{producerByteRate: 1}, nil}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := DiffQuotas(test.desired, test.existing, test.uncertain); len(got)+len(test.want) > 0 && !reflect.DeepEqual(got, test.want) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// TestDiffQuotasLeadsThere: what Kafka holds after a change is what is desired, and the next change is none.
func TestDiffQuotasLeadsThere(t *testing.T) {
	keys := []string{producerByteRate, consumerByteRate, requestPercentage, controllerMutationRate}
	r := rand.New(rand.NewPCG(1, 2))
	random := func() map[string]Quotas {
		out := map[string]Quotas{}
		for _, principal := range []string{"User:a.b", "User:c.d", "User:e.f"} {
			out[principal] = Quotas{}
			for _, key := range keys {
				if r.IntN(2) == 0 {
					out[principal][key] = float64(1 + r.IntN(3))
				}
			}
		}
		return out
	}
	for range 1000 {
		desired, existing := random(), random()
		uncertain := map[string]bool{"User:c.d": r.IntN(2) == 0}
		for _, change := range DiffQuotas(desired, existing, uncertain) {
			for _, key := range change.Remove {
				delete(existing[change.Principal], key)
			}
			for key, value := range change.Set {
				existing[change.Principal][key] = value
			}
		}
		if !reflect.DeepEqual(existing, desired) {
			t.Fatalf("%v, want %v", existing, desired)
		}
		if again := DiffQuotas(desired, existing, nil); len(again) > 0 {
			t.Fatalf("again %v", again)
		}
	}
}
