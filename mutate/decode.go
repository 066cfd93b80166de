// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsjson "sigs.k8s.io/json"
)

// seenPod has of a pod what this package looks at. Decoding the rest of it, probes and resources and the texts of commands,
// would be most of what a mutation costs; FuzzPods holds that it makes no difference.
type seenPod struct {
	Metadata struct {
		GenerateName    string                  `json:"generateName"`
		Labels          map[string]string       `json:"labels"`
		Annotations     map[string]string       `json:"annotations"`
		OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
	} `json:"metadata"`
	Spec struct {
		ServiceAccountName string            `json:"serviceAccountName"`
		OS                 *corev1.PodOS     `json:"os"`
		NodeSelector       map[string]string `json:"nodeSelector"`
		HostNetwork        bool              `json:"hostNetwork"`
		SecurityContext    *struct {
			RunAsUser *int64 `json:"runAsUser"`
			FSGroup   *int64 `json:"fsGroup"`
		} `json:"securityContext"`
		Volumes []struct {
			Name string `json:"name"`
			// Projected is decoded where the name says that the volume may be Signet's: nearly every pod has another one, with
			// the token of its service account.
			Projected jsontext.Value `json:"projected"`
		} `json:"volumes"`
		InitContainers []seenContainer `json:"initContainers"`
		Containers     []seenContainer `json:"containers"`
	} `json:"spec"`
}

type seenContainer struct {
	Name string `json:"name"`
	Env  []struct {
		Name string `json:"name"`
	} `json:"env"`
	EnvFrom []struct {
		Prefix string `json:"prefix"`
	} `json:"envFrom"`
	VolumeMounts []struct {
		Name      string `json:"name"`
		MountPath string `json:"mountPath"`
	} `json:"volumeMounts"`
	SecurityContext *struct {
		RunAsUser *int64 `json:"runAsUser"`
	} `json:"securityContext"`
}

// lenient takes what the API server's own decoder takes: it has decoded and encoded the pod, and whatever is odd about a text
// must not keep a pod from starting.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// decodePod reads what this package looks at of a pod, and leaves the rest of it out.
func decodePod(text []byte) (*corev1.Pod, error) {
	var seen seenPod
	if err := json.Unmarshal(text, &seen, lenient); err != nil {
		return nil, err
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		GenerateName: seen.Metadata.GenerateName, Labels: seen.Metadata.Labels, Annotations: seen.Metadata.Annotations,
		OwnerReferences: seen.Metadata.OwnerReferences,
	}}
	spec := &pod.Spec
	spec.ServiceAccountName, spec.OS, spec.NodeSelector = seen.Spec.ServiceAccountName, seen.Spec.OS, seen.Spec.NodeSelector
	spec.HostNetwork = seen.Spec.HostNetwork
	if c := seen.Spec.SecurityContext; c != nil {
		spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: c.RunAsUser, FSGroup: c.FSGroup}
	}
	spec.Volumes = make([]corev1.Volume, len(seen.Spec.Volumes))
	for i, v := range seen.Spec.Volumes {
		spec.Volumes[i].Name = v.Name
		if len(v.Projected) == 0 || !strings.HasPrefix(v.Name, volumePrefix) {
			continue
		}
		if err := sigsjson.UnmarshalCaseSensitivePreserveInts(v.Projected, &spec.Volumes[i].Projected); err != nil {
			return nil, fmt.Errorf("spec.volumes[%d].projected: %w", i, err)
		}
	}
	spec.InitContainers, spec.Containers = containersOf(seen.Spec.InitContainers), containersOf(seen.Spec.Containers)
	return pod, nil
}

func containersOf(seen []seenContainer) []corev1.Container {
	containers := make([]corev1.Container, len(seen))
	for i := range seen {
		s, c := &seen[i], &containers[i]
		c.Name = s.Name
		c.Env = make([]corev1.EnvVar, len(s.Env))
		for k := range s.Env {
			c.Env[k].Name = s.Env[k].Name
		}
		c.EnvFrom = make([]corev1.EnvFromSource, len(s.EnvFrom))
		for k := range s.EnvFrom {
			c.EnvFrom[k].Prefix = s.EnvFrom[k].Prefix
		}
		c.VolumeMounts = make([]corev1.VolumeMount, len(s.VolumeMounts))
		for k := range s.VolumeMounts {
			c.VolumeMounts[k].Name, c.VolumeMounts[k].MountPath = s.VolumeMounts[k].Name, s.VolumeMounts[k].MountPath
		}
		if s.SecurityContext != nil {
			c.SecurityContext = &corev1.SecurityContext{RunAsUser: s.SecurityContext.RunAsUser}
		}
	}
	return containers
}
