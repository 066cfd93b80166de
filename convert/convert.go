// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json" // unlike others it keeps whole numbers whole
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Target is what the source does not say.
type Target struct {
	// Namespace of the objects. It replaces that of the source where Override is set, else it is for those that name none.
	Namespace string
	Override  bool
	// Cluster is the KafkaCluster of every object; without a name it is the one that the source names.
	Cluster v1alpha1.ClusterReference
}

// namespace returns that of an object whose source names the given one, or none.
func (t Target) namespace(source string) string {
	if t.Override || source == "" {
		return t.Namespace
	}
	return source
}

// cluster returns the KafkaCluster of an object in a namespace whose source names the given one.
func (t Target) cluster(source v1alpha1.ClusterReference, namespace string) v1alpha1.ClusterReference {
	ref := t.Cluster
	if ref.Name == "" {
		ref = source
	}
	if ref.Namespace == namespace {
		ref.Namespace = ""
	}
	return ref
}

// Converted is what became of one document.
type Converted struct {
	// Source names the document: "Strimzi KafkaUser kafka/orders", "document 2".
	Source string
	// Object is a *v1alpha1.KafkaUser or a *v1alpha1.KafkaTopic; nil where nothing could be made of the document, of which
	// the notes say why.
	Object client.Object
	// Notes are sentences about what is not carried over, or is not as it was.
	Notes []string
}

func (c *Converted) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

// DocumentError says which document of a file cannot be read, and why.
type DocumentError struct {
	// Number of the document in the file, from 1.
	Number int
	Err    error
}

func (e *DocumentError) Error() string { return fmt.Sprintf("document %d: %v", e.Number, e.Err) }

func (e *DocumentError) Unwrap() error { return e.Err }

// Manifests converts KafkaUsers and KafkaTopics of kafka.strimzi.io and kafka.banzaicloud.io, one or many to a file, also in
// a List. What is of another kind is returned without an object. The error is a *DocumentError.
func Manifests(text []byte, target Target) ([]Converted, error) {
	var out []Converted
	err := documents(text, func(document []byte) error {
		var object unstructured.Unstructured
		text, err := yaml.YAMLToJSON(document)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &object.Object); err != nil {
			return err
		}
		if object.IsList() {
			return object.EachListItem(func(item runtime.Object) error {
				converted, err := manifest(item.(*unstructured.Unstructured), target)
				out = append(out, converted)
				return err
			})
		}
		converted, err := manifest(&object, target)
		out = append(out, converted)
		return err
	})
	return out, err
}

func manifest(object *unstructured.Unstructured, target Target) (Converted, error) {
	group := object.GroupVersionKind().Group
	makers := map[string]struct {
		product string
		make    func(*unstructured.Unstructured, Target, *Converted) error
	}{
		"kafka.strimzi.io/KafkaUser":      {"Strimzi", strimziUser},
		"kafka.strimzi.io/KafkaTopic":     {"Strimzi", strimziTopic},
		"kafka.banzaicloud.io/KafkaUser":  {"Koperator", koperatorUser},
		"kafka.banzaicloud.io/KafkaTopic": {"Koperator", koperatorTopic},
	}
	name := object.GetName()
	if ns := object.GetNamespace(); ns != "" {
		name = ns + "/" + name
	}
	maker, ok := makers[group+"/"+object.GetKind()]
	if !ok {
		c := Converted{Source: strings.TrimSpace(fmt.Sprintf("%s %s (%s)", object.GetKind(), name, object.GetAPIVersion()))}
		c.note("is neither a KafkaUser nor a KafkaTopic of kafka.strimzi.io or kafka.banzaicloud.io")
		return c, nil
	}
	c := Converted{Source: fmt.Sprintf("%s %s %s", maker.product, object.GetKind(), name)}
	if object.GetName() == "" {
		return c, errors.New("metadata.name is missing")
	}
	if err := maker.make(object, target, &c); err != nil {
		return c, fmt.Errorf("%s: %w", c.Source, err)
	}
	return c, nil
}

// documents calls f for each document of a YAML file that is not empty.
func documents(text []byte, f func([]byte) error) error {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for number := 1; ; number++ {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &DocumentError{number, err}
		}
		var content any
		if err := yaml.Unmarshal(document, &content); err != nil {
			return &DocumentError{number, err}
		}
		if content == nil {
			continue
		}
		if err := f(document); err != nil {
			return &DocumentError{number, err}
		}
	}
}

// scalar is a number, a truth or a text as a configuration of Kafka has it.
func scalar(value any) string {
	if number, ok := value.(float64); ok {
		return strconv.FormatFloat(number, 'f', -1, 64)
	}
	return fmt.Sprint(value)
}

// spec reads the spec of an object into a struct, and notes each of its fields that is not among the known ones.
func (c *Converted) spec(object *unstructured.Unstructured, into any, known ...string) error {
	spec, _, err := unstructured.NestedMap(object.Object, "spec")
	if err != nil {
		return err
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(spec, into); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		if !slices.Contains(known, key) {
			c.note("spec.%s is not carried over", key)
		}
	}
	return nil
}

// WriteYAML writes the objects as manifests, each with its source and notes as comments.
func WriteYAML(w io.Writer, all []Converted) error {
	for _, c := range all {
		if c.Object == nil {
			continue
		}
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c.Object)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Source, err)
		}
		delete(object, "status")
		unstructured.RemoveNestedField(object, "metadata", "creationTimestamp")
		text, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Source, err)
		}
		var b strings.Builder
		fmt.Fprintf(&b, "---\n# From %s.\n", oneLine(c.Source))
		for _, note := range c.Notes {
			fmt.Fprintf(&b, "# NOTE: %s\n", oneLine(note))
		}
		b.Write(text)
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
	}
	return nil
}

// oneLine keeps text from a file from ending the comment that it stands in.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, text)
}

func newUser(namespace, name string, cluster v1alpha1.ClusterReference) *v1alpha1.KafkaUser {
	return &v1alpha1.KafkaUser{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "KafkaUser"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.KafkaUserSpec{ClusterRef: cluster},
	}
}

func newTopic(namespace, name string, cluster v1alpha1.ClusterReference) *v1alpha1.KafkaTopic {
	return &v1alpha1.KafkaTopic{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "KafkaTopic"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.KafkaTopicSpec{ClusterRef: cluster},
	}
}
