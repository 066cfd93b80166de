// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package declare

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Inline is what a pod declares in its annotations.
type Inline struct {
	// User is the name of the KafkaUser that is made of it, in the pod's namespace.
	User string
	// Account is the service account that the pod runs as, whose pods alone may use the KafkaUser.
	Account string
	// Cluster is the KafkaCluster; without a name it is the only one that allows such declarations.
	Cluster v1alpha1.ClusterReference
	// What the pod does, as in a KafkaUser's spec, each sorted.
	Consume, Produce, Admin, ConsumerGroups []string
}

// maxEntries bounds each list of a declaration.
const maxEntries = 100

// lists are the annotations with the access, and where each goes.
func (i *Inline) lists() map[string]*[]string {
	return map[string]*[]string{
		v1alpha1.AnnotationConsume:        &i.Consume,
		v1alpha1.AnnotationProduce:        &i.Produce,
		v1alpha1.AnnotationAdmin:          &i.Admin,
		v1alpha1.AnnotationConsumerGroups: &i.ConsumerGroups,
	}
}

// keys are the annotations by which a pod declares access, sorted.
var keys = []string{v1alpha1.AnnotationAdmin, v1alpha1.AnnotationCluster, v1alpha1.AnnotationConsume, v1alpha1.AnnotationConsumerGroups, v1alpha1.AnnotationProduce}

// Annotations are those by which a pod declares access, sorted.
func Annotations() []string { return slices.Clone(keys) }

// Parse reads the declaration of a pod that runs as the service account; nil where it has none. user is the one name in
// the annotation kafka.signet.dev/user; "" stands for the service account's. The error is one sentence for whoever wrote the
// pod.
func Parse(annotations map[string]string, user, account string) (*Inline, error) {
	isWritten := func(key string) bool {
		_, ok := annotations[key]
		return ok
	}
	if !slices.ContainsFunc(keys, isWritten) {
		return nil, nil
	}
	i := &Inline{User: user, Account: account}
	lists, total := i.lists(), 0
	for _, key := range keys {
		list, ok := lists[key]
		value, written := annotations[key]
		if !ok || !written {
			continue
		}
		entries, err := parseList(key, value)
		if err != nil {
			return nil, err
		}
		*list, total = entries, total+len(entries)
	}
	if total == 0 {
		return nil, fmt.Errorf("annotation %s has no effect alone: declare what the pod does by %s, %s, %s or %s", v1alpha1.AnnotationCluster,
			v1alpha1.AnnotationConsume, v1alpha1.AnnotationProduce, v1alpha1.AnnotationAdmin, v1alpha1.AnnotationConsumerGroups)
	}
	if value, ok := annotations[v1alpha1.AnnotationCluster]; ok {
		if i.Cluster, ok = v1alpha1.ParseClusterReference(value); !ok {
			return nil, fmt.Errorf("annotation %s: %.80q is neither <name> nor <namespace>/<name> of a KafkaCluster", v1alpha1.AnnotationCluster, value)
		}
	}
	if i.User == "" {
		if account == "default" || len(validation.IsDNS1123Label(account)) > 0 {
			return nil, fmt.Errorf("the pod declares Kafka access and runs as service account %.80s, which gives its KafkaUser no name: set spec.serviceAccountName, or write the name into annotation %s", account, v1alpha1.AnnotationUser)
		}
		i.User = account
	}
	return i, nil
}

// entry is the pattern of the entries of a KafkaUser's lists, and maxEntry their length in bytes.
var entry = regexp.MustCompile(`^(\*|[a-zA-Z0-9._-]+\*?)$`)

const maxEntry = 249

func parseList(key, value string) ([]string, error) {
	if strings.Count(value, ",") >= maxEntries {
		return nil, fmt.Errorf("annotation %s has more than %d entries: write a KafkaUser instead", key, maxEntries)
	}
	var entries []string
	for text := range strings.SplitSeq(value, ",") {
		text = strings.TrimSpace(text)
		switch {
		case len(text) > maxEntry:
			return nil, fmt.Errorf("annotation %s: %.60q… has %d characters: a name has at most %d", key, text, len(text), maxEntry)
		case key != v1alpha1.AnnotationConsumerGroups && (text == "." || text == ".."):
			return nil, fmt.Errorf("annotation %s: Kafka does not allow a topic the name %q", key, text)
		case !entry.MatchString(text):
			return nil, fmt.Errorf("annotation %s: %.60q is no name of a-z, A-Z, 0-9, dot, _ and -, with or without a * at its end: write names separated by one comma each", key, text)
		}
		if !slices.Contains(entries, text) {
			entries = append(entries, text)
		}
	}
	slices.Sort(entries)
	return entries, nil
}

// ClusterOf returns the KafkaCluster that a declaration in the namespace is for: the one that it names, else the only one
// that allows such declarations. The error is one sentence for whoever wrote the pod.
func ClusterOf(i *Inline, namespace string, clusters []v1alpha1.KafkaCluster) (*v1alpha1.KafkaCluster, error) {
	if i.Cluster.Name == "" {
		var allowing []*v1alpha1.KafkaCluster
		for k := range clusters {
			if allows(&clusters[k]) {
				allowing = append(allowing, &clusters[k])
			}
		}
		if len(allowing) == 1 {
			return allowing[0], nil
		}
		return nil, fmt.Errorf("the pod declares Kafka access for no KafkaCluster, and %s allows that: name one in annotation %s", count(len(allowing)), v1alpha1.AnnotationCluster)
	}
	ref := i.Cluster.In(namespace)
	for k := range clusters {
		if c := &clusters[k]; c.Namespace == ref.Namespace && c.Name == ref.Name {
			if !allows(c) {
				return nil, fmt.Errorf("KafkaCluster %s does not allow access to be declared on pods (its policy.inlineDeclarations): write a KafkaUser, and name it in annotation %s", ref, v1alpha1.AnnotationUser)
			}
			return c, nil
		}
	}
	return nil, fmt.Errorf("annotation %s: KafkaCluster %s does not exist", v1alpha1.AnnotationCluster, ref)
}

func count(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("each of %d", n)
}

func allows(c *v1alpha1.KafkaCluster) bool {
	return c.Spec.Policy.InlineDeclarations == v1alpha1.InlineAllow
}

// IsFromPods tells whether a KafkaUser is made from what pods declare.
func IsFromPods(user *v1alpha1.KafkaUser) bool {
	return user.Labels[v1alpha1.LabelDeclaredBy] == v1alpha1.DeclaredByPods
}

// KafkaUser returns the declaration as a KafkaUser of the cluster in the namespace.
func (i *Inline) KafkaUser(namespace string, cluster *v1alpha1.KafkaCluster) *v1alpha1.KafkaUser {
	return &v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: i.User, Labels: map[string]string{v1alpha1.LabelDeclaredBy: v1alpha1.DeclaredByPods}},
		Spec: v1alpha1.KafkaUserSpec{
			ClusterRef: v1alpha1.ClusterReference{Namespace: cluster.Namespace, Name: cluster.Name},
			Workload:   &v1alpha1.Workload{ServiceAccountName: i.Account},
			Consume:    i.Consume, Produce: i.Produce, Admin: i.Admin, ConsumerGroups: i.ConsumerGroups,
		},
	}
}

// Conflict says why a declaration in the namespace cannot be that of a KafkaUser that exists, or nothing: it was not made
// from pods, or is for another service account or KafkaCluster.
func Conflict(i *Inline, namespace string, cluster *v1alpha1.KafkaCluster, existing *v1alpha1.KafkaUser) string {
	if existing == nil {
		return ""
	}
	ref := existing.Spec.ClusterRef.In(existing.Namespace)
	switch w := existing.Spec.Workload; {
	case !IsFromPods(existing):
		return fmt.Sprintf("KafkaUser %s/%s exists and declares its access itself: remove the annotations %s, or name another in %s",
			namespace, i.User, strings.Join(keys, ", "), v1alpha1.AnnotationUser)
	case w == nil || w.ServiceAccountName != i.Account:
		return fmt.Sprintf("KafkaUser %s/%s is made from pods of another service account, and this pod runs as %s: name another in annotation %s", namespace, i.User, i.Account, v1alpha1.AnnotationUser)
	case ref.Namespace != cluster.Namespace || ref.Name != cluster.Name:
		return fmt.Sprintf("KafkaUser %s/%s is one of KafkaCluster %s, and this pod is for %s/%s: name another in annotation %s", namespace, i.User, ref, cluster.Namespace, cluster.Name, v1alpha1.AnnotationUser)
	}
	return ""
}

// Union adds the access of another declaration of the same KafkaUser.
func (i *Inline) Union(other *Inline) {
	others := other.lists()
	for key, list := range i.lists() {
		merged := slices.Concat(*list, *others[key])
		slices.Sort(merged)
		*list = slices.Compact(merged)
	}
}
