// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/clientconfig"
	"github.com/signet-kafka/signet/declare"
)

// Mutation is what happens to a pod that is admitted.
type Mutation struct {
	// Patch is a JSON Patch (RFC 6902), all of whose operations are "add"; nil if the pod has everything.
	Patch json.RawMessage
	// Warnings are for whoever made the pod.
	Warnings []string
	// Waits tells that a KafkaUser of the pod is not ready; the kubelet starts no container before its files exist.
	Waits bool
}

// User is a KafkaUser that a pod declares.
type User struct {
	// KafkaUser is nil where it does not exist yet.
	*v1alpha1.KafkaUser
	// ByMesh tells that the pod's sidecar speaks for it.
	ByMesh bool
	// Warning is for whoever made the pod; "" is none.
	Warning string
}

// Mutate decides what the pod in the namespace gets for the KafkaUsers of its declaration, in their order. A KafkaUser
// that is not in users does not exist yet. The error is a *Refusal, but for types of the API that cannot be encoded.
//
// The check of the service account catches mistakes; what keeps other pods of the namespace from a KafkaUser's key is
// who may create pods and read Secrets there.
func Mutate(pod *corev1.Pod, namespace string, declaration Declaration, users map[string]User) (Mutation, error) {
	declared := declaration.Users
	if len(declared) == 0 {
		return Mutation{}, nil
	}
	if isWindows(&pod.Spec) {
		return Mutation{}, refuse(ReasonWindows, "annotation %s: Signet's files need Linux nodes, and this pod asks for Windows: remove the annotation", v1alpha1.AnnotationUser)
	}
	if err := checkContainers(&pod.Spec, declaration.Containers); err != nil {
		return Mutation{}, err
	}
	var m Mutation
	for _, name := range declared {
		if warning := users[name].Warning; warning != "" {
			m.Warnings = append(m.Warnings, warning)
		}
		warning, err := judge(pod, namespace, name, users[name])
		if err != nil {
			return Mutation{}, err
		}
		if warning != "" {
			m.Warnings = append(m.Warnings, warning)
			m.Waits = true
		}
	}
	gets, err := additionsFor(&pod.Spec, declaration, users)
	if err != nil {
		return Mutation{}, err
	}
	if err := m.addVolumes(&pod.Spec, gets); err != nil {
		return Mutation{}, err
	}
	if err := m.addLabel(pod, declaration.Inline); err != nil {
		return Mutation{}, err
	}
	var withheld []string
	for _, list := range []struct {
		path       string
		containers []corev1.Container
	}{{"/spec/initContainers", pod.Spec.InitContainers}, {"/spec/containers", pod.Spec.Containers}} {
		for i := range list.containers {
			c := &list.containers[i]
			if !isChosen(declaration.Containers, c) {
				continue
			}
			path := list.path + "/" + strconv.Itoa(i)
			if err := m.addMounts(path, c, gets); err != nil {
				return Mutation{}, err
			}
			if m.addEnvironment(path, c, gets[0].variables) {
				withheld = append(withheld, c.Name)
			}
		}
	}
	if len(withheld) > 0 {
		m.Warnings = append(m.Warnings, fmt.Sprintf("no KAFKA_* variables where envFrom may set them (%.100s): read %s instead",
			strings.Join(withheld, ", "), clientconfig.Dir(declared[0])))
	}
	return m, nil
}

// checkContainers tells whether the pod has the containers that the annotation chooses.
func checkContainers(spec *corev1.PodSpec, chosen []string) error {
	if len(chosen) == 0 {
		return nil
	}
	var names []string
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			names = append(names, containers[i].Name)
		}
	}
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return refuse(ReasonUnknownContainer, "annotation %s: the pod has no container %q%s", v1alpha1.AnnotationContainers, name, suggestion(name, names))
		}
	}
	return nil
}

// isChosen tells whether the container is among the chosen ones; nil means all.
func isChosen(chosen []string, c *corev1.Container) bool {
	return chosen == nil || slices.Contains(chosen, c.Name)
}

func isWindows(spec *corev1.PodSpec) bool {
	return spec.OS != nil && spec.OS.Name == corev1.Windows || spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
}

// judge tells whether the pod may use the KafkaUser, and warns if it will wait for it.
func judge(pod *corev1.Pod, namespace, name string, declared User) (warning string, err error) {
	user := declared.KafkaUser
	if user == nil {
		return fmt.Sprintf("KafkaUser %s/%s does not exist yet; the pod waits in ContainerCreating until it does", namespace, name), nil
	}
	if !user.DeletionTimestamp.IsZero() {
		return "", refuse(ReasonUserDeleted, "KafkaUser %s/%s is being deleted: create it anew once it is gone, or remove it from annotation %s", namespace, name, v1alpha1.AnnotationUser)
	}
	if user.Spec.Suspend {
		return "", refuse(ReasonSuspended, "KafkaUser %s/%s is suspended (spec.suspend) and gets no certificate: have it resumed, or remove it from annotation %s", namespace, name, v1alpha1.AnnotationUser)
	}
	account := accountOf(pod)
	if w := user.Spec.Workload; w != nil && w.ServiceAccountName != account {
		return "", refuse(ReasonOtherServiceAccount, "KafkaUser %s/%s is for service account %s, and this pod runs as %s: set spec.serviceAccountName, or use another KafkaUser",
			namespace, name, w.ServiceAccountName, account)
	}
	if !declared.ByMesh && kubeletOnly(user) && signer(user) == "" {
		return "", refuse(ReasonNoSigner, "KafkaUser %s/%s is delivered by the kubelet only (spec.certificate.delivery PodCertificate), and it is not, or not yet, known by which signer: see its condition %s, and create the pod again",
			namespace, name, v1alpha1.ConditionCertificateReady)
	}
	ready := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionReady)
	if ready != nil && ready.Status == "True" {
		return "", nil
	}
	reason := v1alpha1.ReasonPending
	if ready != nil {
		reason = ready.Reason
	}
	return fmt.Sprintf("KafkaUser %s/%s is not ready (%.40s); the pod waits in ContainerCreating until its files exist", namespace, name, reason), nil
}

// addLabel marks a pod that declares access itself, for the controller that makes its KafkaUser.
func (m *Mutation) addLabel(pod *corev1.Pod, inline *declare.Inline) error {
	if inline == nil {
		return nil
	}
	switch value, there := pod.Labels[v1alpha1.LabelInline]; {
	case there && value != inline.User:
		return refuse(ReasonInline, "label %s is %.70q, and the annotations declare access for KafkaUser %s: remove the label, which is Signet's", v1alpha1.LabelInline, value, inline.User)
	case there:
	case len(pod.Labels) == 0:
		text, err := json.Marshal(map[string]string{v1alpha1.LabelInline: inline.User})
		if err != nil {
			return fmt.Errorf("encode the labels: %w", err)
		}
		m.add("/metadata/labels", text)
	default:
		text, err := json.Marshal(inline.User)
		if err != nil {
			return fmt.Errorf("encode the label: %w", err)
		}
		m.add("/metadata/labels/"+strings.ReplaceAll(v1alpha1.LabelInline, "/", "~1"), text)
	}
	return nil
}

// add writes an operation into the patch. The path has no character that a JSON string escapes; the value is JSON.
//
// The patch is text from the start: as operations whose values are types of the API it would pass through encoding/json
// several times, for each container anew, which was most of what a mutation cost.
func (m *Mutation) add(path string, value []byte) {
	if len(m.Patch) == 0 {
		m.Patch = append(make([]byte, 0, 2048), '[')
	} else {
		m.Patch[len(m.Patch)-1] = ','
	}
	m.Patch = append(m.Patch, `{"op":"add","path":"`...)
	m.Patch = append(m.Patch, path...)
	m.Patch = append(m.Patch, `","value":`...)
	m.Patch = append(m.Patch, value...)
	m.Patch = append(m.Patch, "}]"...)
}

// extend adds elements, each JSON, to the list at path that has this length now. An empty list may be absent, null or []
// in the pod's JSON; adding the whole member is right for all three.
func (m *Mutation) extend(path string, length int, elements [][]byte) {
	switch {
	case len(elements) == 0:
	case length == 0:
		m.add(path, slices.Concat([]byte("["), bytes.Join(elements, []byte(",")), []byte("]")))
	default:
		for _, element := range elements {
			m.add(path+"/-", element)
		}
	}
}

func (m *Mutation) addVolumes(spec *corev1.PodSpec, gets []*additions) error {
	var missing [][]byte
	for i, g := range gets {
		sharesName := func(other *additions) bool { return other.volumeName == g.volumeName }
		if slices.ContainsFunc(gets[:i], sharesName) {
			return refuse(ReasonVolumeName, "annotation %s names two KafkaUsers whose volumes would share the name %s: use shorter names", v1alpha1.AnnotationUser, g.volumeName)
		}
		named := func(v corev1.Volume) bool { return v.Name == g.volumeName }
		if i := slices.IndexFunc(spec.Volumes, named); i < 0 {
			missing = append(missing, g.volume)
		} else if !isOurs(&spec.Volumes[i], g.user) {
			return refuse(ReasonVolumeName, "volume %s has the name that Signet needs for KafkaUser %s, and other content: give yours another name", g.volumeName, g.user)
		}
	}
	m.extend("/spec/volumes", len(spec.Volumes), missing)
	return nil
}

func (m *Mutation) addMounts(path string, c *corev1.Container, gets []*additions) error {
	var missing [][]byte
	for _, g := range gets {
		found, err := mounted(c, g)
		if err != nil {
			return err
		}
		if !found {
			missing = append(missing, g.mount)
		}
	}
	m.extend(path+"/volumeMounts", len(c.VolumeMounts), missing)
	return nil
}

// addEnvironment adds those of the variables that the container does not set itself, and tells whether it withheld some
// because the container's envFrom may set them: env wins over envFrom, and what is in there cannot be seen here.
//
// Servers and protocol go together: the protocol of Signet's listener beside other servers would be wrong.
func (m *Mutation) addEnvironment(path string, c *corev1.Container, variables []variable) (withheld bool) {
	set := func(name string) bool {
		return slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == name })
	}
	mayBeSet := func(name string) bool {
		return slices.ContainsFunc(c.EnvFrom, func(s corev1.EnvFromSource) bool { return strings.HasPrefix(name, s.Prefix) })
	}
	either := func(test func(string) bool, name string) bool {
		if name == clientconfig.EnvBootstrapServers || name == clientconfig.EnvSecurityProtocol {
			return test(clientconfig.EnvBootstrapServers) || test(clientconfig.EnvSecurityProtocol)
		}
		return test(name)
	}
	var missing [][]byte
	for _, variable := range variables {
		switch {
		case either(set, variable.name):
		case either(mayBeSet, variable.name):
			withheld = true
		default:
			missing = append(missing, variable.text)
		}
	}
	m.extend(path+"/env", len(c.Env), missing)
	return withheld
}
