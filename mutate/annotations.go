// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/declare"
)

// MaxUsers is the largest number of KafkaUsers in one pod. Each is a volume, and a mount in every container.
const MaxUsers = 16

// maxContainersText bounds the value of AnnotationContainers in bytes: a hundred names.
const maxContainersText = 6400

// known are the annotations that Signet reads on a pod, sorted.
var known = slices.Sorted(slices.Values(append(declare.Annotations(), v1alpha1.AnnotationContainers, v1alpha1.AnnotationInject, v1alpha1.AnnotationUser)))

// Declaration is what a pod's annotations ask for.
type Declaration struct {
	// OptedOut means that the pod stays as it is, whoever else means it.
	OptedOut bool
	// Users are the names of KafkaUsers in the pod's namespace, in the order of the annotation.
	Users []string
	// Inline is the access that the pod declares itself, for the one KafkaUser in Users; nil where it declares none.
	Inline *declare.Inline
	// Containers are the names of the only containers and init containers that get anything; nil means all.
	Containers []string
	// Warnings are for whoever wrote the pod.
	Warnings []string
}

// Declared reads the annotations of a pod in the namespace that runs as the service account. The error is a *Refusal.
func Declared(annotations map[string]string, namespace, account string) (Declaration, error) {
	inject, hasInject := annotations[v1alpha1.AnnotationInject]
	if hasInject && inject != "true" && inject != "false" {
		return Declaration{}, refuse(ReasonInvalidAnnotation, `annotation %s: %.40q is neither "true" nor "false"`, v1alpha1.AnnotationInject, inject)
	}
	if inject == "false" {
		return Declaration{OptedOut: true}, nil
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if strings.HasPrefix(key, v1alpha1.AnnotationPrefix) && !slices.Contains(known, key) {
			return Declaration{}, unknown(key)
		}
	}
	var d Declaration
	if value, ok := annotations[v1alpha1.AnnotationUser]; ok {
		var err error
		if d.Users, err = userNames(value, namespace); err != nil {
			return Declaration{}, err
		}
	}
	inline, err := declare.Parse(annotations, strings.Join(d.Users, ","), account)
	switch {
	case err != nil:
		return Declaration{}, refuse(ReasonInvalidAnnotation, "%s", err)
	case inline != nil && len(d.Users) > 1:
		return Declaration{}, refuse(ReasonInvalidAnnotation, "the pod declares the access of one KafkaUser, and annotation %s names %d: name one", v1alpha1.AnnotationUser, len(d.Users))
	case inline != nil:
		d.Inline, d.Users = inline, []string{inline.User}
	}
	if value, ok := annotations[v1alpha1.AnnotationContainers]; ok {
		if d.Containers, err = containerNames(value); err != nil {
			return Declaration{}, err
		}
	}
	if len(d.Users) > 0 {
		return d, nil
	}
	for _, alone := range []string{v1alpha1.AnnotationContainers, v1alpha1.AnnotationInject} {
		if _, ok := annotations[alone]; ok {
			d.Warnings = append(d.Warnings, fmt.Sprintf("annotation %s has no effect: neither %s nor the workload of a KafkaUser gives this pod one", alone, v1alpha1.AnnotationUser))
		}
	}
	return d, nil
}

// containerNames reads the names of containers. Whether they are in the pod is for Mutate to say.
func containerNames(value string) ([]string, error) {
	if len(value) > maxContainersText {
		return nil, refuse(ReasonInvalidAnnotation, "annotation %s has %d characters; at most %d are read", v1alpha1.AnnotationContainers, len(value), maxContainersText)
	}
	var names []string
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if len(validation.IsDNS1123Label(name)) > 0 {
			return nil, refuse(ReasonInvalidAnnotation, "annotation %s: %.70q cannot be the name of a container: write names separated by one comma each, or remove it for all containers", v1alpha1.AnnotationContainers, name)
		}
		if slices.Contains(names, name) {
			return nil, refuse(ReasonInvalidAnnotation, "annotation %s names %q twice: name each container once", v1alpha1.AnnotationContainers, name)
		}
		names = append(names, name)
	}
	return names, nil
}

// unknown refuses an annotation that nobody reads: whoever wrote it expects an effect that would silently be missing.
func unknown(key string) *Refusal {
	// Keys are validated after admission: here one may be a megabyte long, or hold a newline.
	if len(validation.IsQualifiedName(key)) == 0 {
		if did := suggestion(strings.ToLower(key), known); did != "" {
			return refuse(ReasonUnknownAnnotation, "annotation %s%s", key, strings.Replace(did, "; ", ": ", 1))
		}
	}
	return refuse(ReasonUnknownAnnotation, "annotation %.150q is not one that this version of Signet reads; it reads %s", key, strings.Join(known, ", "))
}

// suggestion is "; did you mean …?" with the nearest of the candidates, where one is near enough to be meant.
func suggestion(word string, candidates []string) string {
	const most = 2 // slips of a finger
	nearest, least := "", most+1
	for _, candidate := range candidates {
		// A word that is much longer is not near, and long ones are dear.
		if len(word) <= len(candidate)+most {
			if d := distance(word, candidate); d < least && d < len(candidate) {
				nearest, least = candidate, d
			}
		}
	}
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", nearest)
}

func userNames(value, namespace string) ([]string, error) {
	if strings.TrimSpace(value) == "" {
		return nil, refuse(ReasonInvalidAnnotation, "annotation %s is empty: write the name of a KafkaUser in namespace %s, or remove it", v1alpha1.AnnotationUser, namespace)
	}
	if strings.Count(value, ",") >= MaxUsers {
		return nil, refuse(ReasonTooManyUsers, "annotation %s names more than %d KafkaUsers: a pod may use at most %d", v1alpha1.AnnotationUser, MaxUsers, MaxUsers)
	}
	var names []string
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if err := checkName(name, namespace); err != nil {
			return nil, err
		}
		if slices.Contains(names, name) {
			return nil, refuse(ReasonInvalidAnnotation, "annotation %s names %q twice: name each KafkaUser once", v1alpha1.AnnotationUser, name)
		}
		names = append(names, name)
	}
	return names, nil
}

func checkName(name, namespace string) error {
	if _, local, found := strings.Cut(name, "/"); found {
		return refuse(ReasonOtherNamespace, "annotation %s: %.140q names a namespace, and a pod uses KafkaUsers of its own only: write %.70q, a KafkaUser in namespace %s",
			v1alpha1.AnnotationUser, name, local, namespace)
	}
	if name == "" {
		return refuse(ReasonInvalidAnnotation, "annotation %s has an empty name between commas: write names separated by one comma each", v1alpha1.AnnotationUser)
	}
	if len(validation.IsDNS1123Label(name)) == 0 {
		return nil
	}
	suggestion := ""
	if lower := strings.ReplaceAll(strings.ToLower(name), "_", "-"); len(validation.IsDNS1123Label(lower)) == 0 {
		suggestion = fmt.Sprintf("; did you mean %q?", lower)
	}
	return refuse(ReasonInvalidAnnotation, "annotation %s: %.70q cannot be the name of a KafkaUser, which is at most 63 of a-z, 0-9 and -, with a letter or digit at both ends%s",
		v1alpha1.AnnotationUser, name, suggestion)
}

// distance is the number of insertions, deletions, substitutions and swaps of neighbours between two strings (optimal
// string alignment), in bytes.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			substitution := 1
			if a[i-1] == b[j-1] {
				substitution = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+substitution)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
