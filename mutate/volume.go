// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/clientconfig"
)

const volumePrefix = "kafka-signet-"

// VolumeName is the name of the volume of the KafkaUser with this name in a pod: kafka-signet-<user>. A volume's name is
// a DNS label, so that of a user with more than 50 characters is cut and made unique by a part of its SHA-256.
func VolumeName(user string) string {
	name := volumePrefix + user
	if len(name) <= validation.DNS1123LabelMaxLength {
		return name
	}
	sum := sha256.Sum256([]byte(user))
	suffix := "-" + hex.EncodeToString(sum[:5])
	return name[:validation.DNS1123LabelMaxLength-len(suffix)] + suffix
}

// volume projects the user's Secret and ConfigMaps into one directory. None of the sources is optional: the kubelet
// keeps the pod in ContainerCreating until all of them exist, so no container ever starts without its identity.
func volume(user string, mode int32) corev1.Volume {
	same := func(keys ...string) (items []corev1.KeyToPath) {
		for _, key := range keys {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
		return items
	}
	configMap := func(name string, keys ...string) corev1.VolumeProjection {
		return corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: same(keys...),
		}}
	}
	return corev1.Volume{
		Name: VolumeName(user),
		VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			DefaultMode: &mode,
			Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{
					LocalObjectReference: corev1.LocalObjectReference{Name: v1alpha1.CertificateName(user)},
					Items: append(same(v1alpha1.FileCertificate, v1alpha1.FileKey),
						corev1.KeyToPath{Key: v1alpha1.KeyCombinedPEM, Path: v1alpha1.FileKeystore}),
				}},
				configMap(v1alpha1.ClientConfigName(user), v1alpha1.FileJavaProperties, v1alpha1.FileLibrdkafka, v1alpha1.FileJSON),
				configMap(v1alpha1.TrustBundleName(user), v1alpha1.FileCA),
			},
		}},
	}
}

// isOurs tells whether a volume is the one that Signet makes for the user, maybe an earlier version's: it projects the
// user's three sources and nothing else.
func isOurs(v *corev1.Volume, user string) bool {
	if v.Projected == nil {
		return false
	}
	missing := map[string]bool{
		"secret/" + v1alpha1.CertificateName(user):     true,
		"configmap/" + v1alpha1.ClientConfigName(user): true,
		"configmap/" + v1alpha1.TrustBundleName(user):  true,
	}
	for _, source := range v.Projected.Sources {
		var key string
		switch {
		case source.Secret != nil:
			key = "secret/" + source.Secret.Name
		case source.ConfigMap != nil:
			key = "configmap/" + source.ConfigMap.Name
		}
		if !missing[key] {
			return false
		}
		delete(missing, key)
	}
	return len(missing) == 0
}

// fileMode is the mode of the files in a pod's volumes, which root owns.
//
// With fsGroup the kubelet gives the files to that group, which every container of the pod is in: 0440. Where every
// container surely runs as root, nobody else needs to read: 0400. Otherwise the user id of a container may come from its
// image, which admission cannot see, and nothing but "others" would let it read: 0444. That opens the files to every
// process of this pod's containers and to nobody else: on the node, the kubelet's directory above them is root's alone.
func fileMode(spec *corev1.PodSpec) int32 {
	if spec.SecurityContext != nil && spec.SecurityContext.FSGroup != nil {
		return 0o440
	}
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			if !runsAsRoot(spec, &containers[i]) {
				return 0o444
			}
		}
	}
	return 0o400
}

func runsAsRoot(spec *corev1.PodSpec, c *corev1.Container) bool {
	if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
		return *c.SecurityContext.RunAsUser == 0
	}
	return spec.SecurityContext != nil && spec.SecurityContext.RunAsUser != nil && *spec.SecurityContext.RunAsUser == 0
}

func mount(user string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: VolumeName(user), ReadOnly: true, MountPath: clientconfig.Dir(user)}
}

// mounted tells whether the container has the user's volume at its place. It errs where something else is there, or
// inside, or on the directory that holds the places of all users: one of the two mounts would hide the other.
func mounted(c *corev1.Container, user string) (bool, error) {
	want, root := directory(clientconfig.Dir(user)), directory(v1alpha1.MountRoot)
	found := false
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		at := directory(m.MountPath)
		switch {
		case at == want && m.Name == VolumeName(user):
			found = true
		case at == want, at == root, strings.HasPrefix(at, want+"/"):
			return false, refuse(ReasonMountPath, "container %.63s mounts volume %.63s at %.200s, where Signet mounts the files of KafkaUser %s (%s): mount yours elsewhere",
				c.Name, m.Name, m.MountPath, user, clientconfig.Dir(user))
		}
	}
	return found, nil
}

// directory is the directory that a mount path means. In nearly all images /var/run is a symbolic link to /run.
func directory(mountPath string) string {
	cleaned := path.Clean("/" + mountPath)
	if rest, ok := strings.CutPrefix(cleaned, "/var/run/"); ok {
		return "/run/" + rest
	}
	return cleaned
}
