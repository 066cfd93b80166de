// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package declare

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
)

// cluster is a KafkaCluster of the namespace kafka.
func cluster(name string, policy v1alpha1.InlinePolicy) v1alpha1.KafkaCluster {
	c := v1alpha1.KafkaCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: name}}
	c.Spec.Policy.InlineDeclarations = policy
	return c
}

// pod was created in this minute; annotations are pairs without the prefix.
func pod(name string, minute int, account string, annotations ...string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, Labels: map[string]string{v1alpha1.LabelInline: "cart"}, Annotations: map[string]string{},
		CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC)),
	}}
	p.Spec.ServiceAccountName = account
	for i := 0; i < len(annotations); i += 2 {
		p.Annotations[v1alpha1.AnnotationPrefix+annotations[i]] = annotations[i+1]
	}
	return p
}

func TestDecide(t *testing.T) {
	only := []v1alpha1.KafkaCluster{cluster("kafka", v1alpha1.InlineAllow), cluster("strict", v1alpha1.InlineRefuse)}
	made := func(account string) *v1alpha1.KafkaUser {
		return (&Inline{User: "cart", Account: account}).KafkaUser("shop", &only[0])
	}
	for name, test := range map[string]struct {
		pods     []corev1.Pod
		clusters []v1alpha1.KafkaCluster
		existing *v1alpha1.KafkaUser
		want     string // consume / produce / admin / groups, by which pods
		refused  []string
	}{
		"one pod":                  {[]corev1.Pod{pod("a", 0, "cart", "consume", "orders,carts-*", "consumer-groups", "legacy")}, only, nil, "carts-*,orders/-/-/legacy by a", nil},
		"all pods of a rollout":    {[]corev1.Pod{pod("b", 1, "cart", "consume", "orders", "produce", "carts"), pod("a", 0, "cart", "consume", "orders,returns")}, only, nil, "orders,returns/carts/-/- by a b", nil},
		"none left":                {nil, only, made("cart"), "nothing", nil},
		"named by the annotation":  {[]corev1.Pod{pod("a", 0, "default", "user", "cart", "admin", "shop-x")}, only, nil, "-/-/shop-x/- by a", nil},
		"for a named cluster":      {[]corev1.Pod{pod("a", 0, "cart", "consume", "orders", "cluster", "kafka/kafka")}, only, nil, "orders/-/-/- by a", nil},
		"made before, and again":   {[]corev1.Pod{pod("a", 0, "cart", "consume", "orders")}, only, made("cart"), "orders/-/-/- by a", nil},
		"the label alone":          {[]corev1.Pod{pod("a", 0, "cart")}, only, nil, "nothing", []string{"declare no access for it"}},
		"the label of another":     {[]corev1.Pod{pod("a", 0, "thief", "consume", "orders")}, only, nil, "nothing", []string{"declare no access for it"}},
		"malformed beside a right": {[]corev1.Pod{pod("a", 0, "cart", "consume", "my topic"), pod("b", 1, "cart", "consume", "orders")}, only, nil, "orders/-/-/- by b", []string{"is no name of"}},
		"a KafkaUser of its own":   {[]corev1.Pod{pod("a", 0, "cart", "consume", "orders")}, only, &v1alpha1.KafkaUser{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}}, "nothing", []string{"declares its access itself"}},
		"another service account":  {[]corev1.Pod{pod("a", 0, "thief", "user", "cart", "consume", "orders")}, only, made("cart"), "nothing", []string{"of another service account"}},
		"two service accounts, the older one counts": {
			[]corev1.Pod{pod("b", 1, "thief", "user", "cart", "consume", "secrets"), pod("a", 0, "cart", "consume", "orders")}, only, nil, "orders/-/-/- by a", []string{"of another service account"},
		},
		"a cluster that does not allow it":  {[]corev1.Pod{pod("a", 0, "cart", "consume", "orders", "cluster", "kafka/strict")}, only, nil, "nothing", []string{"does not allow access to be declared on pods"}},
		"a cluster that is not there":       {[]corev1.Pod{pod("a", 0, "cart", "consume", "orders", "cluster", "kafka")}, only, nil, "nothing", []string{"KafkaCluster shop/kafka does not exist"}},
		"no cluster allows it":              {[]corev1.Pod{pod("a", 0, "cart", "consume", "orders")}, only[1:], nil, "nothing", []string{"and none allows that"}},
		"two clusters allow it":             {[]corev1.Pod{pod("a", 0, "cart", "consume", "orders")}, append(only[:1:1], cluster("second", v1alpha1.InlineAllow)), nil, "nothing", []string{"and each of 2 allows that"}},
		"pods of two clusters":              {[]corev1.Pod{pod("a", 0, "cart", "consume", "orders", "cluster", "kafka/kafka"), pod("b", 1, "cart", "consume", "x", "cluster", "kafka/second")}, append(only[:1:1], cluster("second", v1alpha1.InlineAllow)), nil, "orders/-/-/- by a", []string{"is one of KafkaCluster kafka/kafka"}},
		"a policy that nobody has set":      {[]corev1.Pod{pod("a", 0, "cart", "consume", "orders", "cluster", "kafka/old")}, []v1alpha1.KafkaCluster{cluster("old", "")}, nil, "nothing", []string{"does not allow"}},
		"created at once, by name":          {[]corev1.Pod{pod("b", 0, "thief", "user", "cart", "consume", "x"), pod("a", 0, "cart", "consume", "orders")}, only, nil, "orders/-/-/- by a", []string{"of another service account"}},
		"the default service account alone": {[]corev1.Pod{pod("a", 0, "", "consume", "orders")}, only, nil, "nothing", []string{"gives its KafkaUser no name"}},
	} {
		t.Run(name, func(t *testing.T) {
			plan := Decide("shop", "cart", test.pods, test.clusters, test.existing)
			got := "nothing"
			if plan.User != nil {
				join := func(list []string) string {
					if len(list) == 0 {
						return "-"
					}
					return strings.Join(list, ",")
				}
				spec := plan.User.Spec
				got = strings.Join([]string{join(spec.Consume), join(spec.Produce), join(spec.Admin), join(spec.ConsumerGroups)}, "/") + " by"
				var by []string
				for _, p := range plan.Pods {
					by = append(by, p.Name)
				}
				got += " " + strings.Join(by, " ")
				if plan.User.Name != "cart" || plan.User.Namespace != "shop" || !IsFromPods(plan.User) {
					t.Errorf("made %+v", plan.User.ObjectMeta)
				}
			}
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if len(plan.Refused) != len(test.refused) {
				t.Fatalf("refused %+v, want %q", plan.Refused, test.refused)
			}
			for i, r := range plan.Refused {
				if !strings.Contains(r.Why, test.refused[i]) {
					t.Errorf("refused because %q, want %q", r.Why, test.refused[i])
				}
			}
			slices.Reverse(test.pods)
			if again := Decide("shop", "cart", test.pods, test.clusters, test.existing); !reflect.DeepEqual(again.User, plan.User) {
				t.Errorf("in another order %+v, then %+v", again.User, plan.User)
			}
		})
	}
}

// FuzzParse: whatever stands in annotations, what is made of it is a KafkaUser that the CRD's patterns admit, or a refusal of
// one bounded line.
func FuzzParse(f *testing.F) {
	f.Add("orders, x-*", "", "cart", "kafka/kafka")
	f.Add("*", "cart", "default", "")
	f.Add("a\nb=c", "", "a.b", "/")
	allowing := []v1alpha1.KafkaCluster{cluster("kafka", v1alpha1.InlineAllow)}
	f.Fuzz(func(t *testing.T, topics, user, account, named string) {
		annotations := map[string]string{v1alpha1.AnnotationConsume: topics}
		if named != "" {
			annotations[v1alpha1.AnnotationCluster] = named
		}
		inline, err := Parse(annotations, user, account)
		if err != nil {
			if len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\n\r") || inline != nil {
				t.Errorf("refused with %q", err)
			}
			return
		}
		if len(inline.Consume) == 0 || len(inline.Consume) > maxEntries {
			t.Errorf("%d entries of %q", len(inline.Consume), topics)
		}
		made := inline.KafkaUser("shop", &allowing[0])
		for _, problem := range access.CheckDeclaration(made, nil) {
			t.Errorf("made of %q: %v", topics, problem)
		}
		for _, name := range inline.Consume {
			if strings.ContainsAny(name, ", \n\r\t\"\\=") {
				t.Errorf("entry %q of %q", name, topics)
			}
		}
	})
}

func TestOnlyDeclaration(t *testing.T) {
	p := pod("a", 0, "cart", "consume", "orders", "inject", "true")
	p.Annotations["secret"] = "s"
	p.Labels["app"] = "x"
	p.Spec.Containers = []corev1.Container{{Name: "app", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "s"}}}}
	kept, err := OnlyDeclaration(&p)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", kept); strings.Contains(text, "PASSWORD") || strings.Contains(text, "secret") || !strings.Contains(text, "orders") {
		t.Errorf("kept %s", text)
	}
}
