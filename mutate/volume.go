// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
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

// same projects keys to files of the same name.
func same(keys ...string) []corev1.KeyToPath {
	items := make([]corev1.KeyToPath, len(keys))
	for i, key := range keys {
		items[i] = corev1.KeyToPath{Key: key, Path: key}
	}
	return items
}

// form is everything that decides what a pod gets for a KafkaUser.
type form struct {
	user string
	// mesh: the pod's sidecar speaks for it, so that it gets the files of that listener and no certificate; the following
	// have no meaning then, but mode.
	mesh bool
	// signer is whom the kubelet asks for the certificate, for life seconds; "" where it comes from the Secret.
	signer string
	life   int32
	// keystores are the formats, separated by commas, that the Secret has or may come to have.
	keystores string
	// mode is that of the files.
	mode int32
}

// formOf is that of the KafkaUser with this name, which may not exist yet (nil): then nothing is known but the name of its
// Secret, which may come to have any keystore.
func formOf(name string, user *v1alpha1.KafkaUser, mesh bool, mode int32) form {
	if mesh {
		return form{user: name, mesh: true, mode: mode}
	}
	f := form{user: name, signer: signer(user), mode: mode}
	switch {
	case f.signer != "":
		f.life = kubeletLife(user)
	case user != nil:
		f.keystores = joined(user.Keystores())
	default:
		f.keystores = joined(v1alpha1.KeystoreFormats())
	}
	return f
}

func joined(formats []v1alpha1.KeystoreFormat) string {
	texts := make([]string, len(formats))
	for i, format := range formats {
		texts[i] = string(format)
	}
	return strings.Join(texts, ",")
}

// volume projects the user's credentials and ConfigMaps into one directory. What every pod has is not optional: the kubelet
// keeps the pod in ContainerCreating until it has all of it, so no container ever starts without its identity.
//
// What comes and goes while the pod runs is: the files for other listeners, with the KafkaCluster's listeners, and the
// keystores, with the KafkaUser's declaration. Where something is gone that is not optional, the kubelet no longer updates
// anything of the volume.
func (f form) volume() corev1.Volume {
	if f.mesh {
		return f.projected(f.meshFiles())
	}
	var keystores []v1alpha1.KeystoreFormat
	for format := range strings.SplitSeq(f.keystores, ",") {
		if format != "" {
			keystores = append(keystores, v1alpha1.KeystoreFormat(format))
		}
	}
	own, config, trust := f.credentials(), v1alpha1.ClientConfigName(f.user), v1alpha1.TrustBundleName(f.user)
	sources := []corev1.VolumeProjection{
		own,
		fromConfigMap(config, false, clientconfig.Files("")...),
		fromConfigMap(trust, false, v1alpha1.FileCA),
	}
	if len(keystores) > 0 {
		var files []string
		for _, format := range keystores {
			files = append(files, format.File())
		}
		optional := true
		sources = append(sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: own.Secret.LocalObjectReference, Items: same(files...), Optional: &optional,
		}})
	}
	configs, trusts := clientconfig.KeystoreFiles("", keystores), []string(nil)
	for _, scope := range clientconfig.Scopes() {
		configs = slices.Concat(configs, clientconfig.Files(scope), clientconfig.KeystoreFiles(scope, keystores))
		trusts = append(trusts, v1alpha1.FileForScope(v1alpha1.FileCA, scope))
	}
	return f.projected(append(sources, fromConfigMap(config, true, configs...), fromConfigMap(trust, true, trusts...))...)
}

func (f form) projected(sources ...corev1.VolumeProjection) corev1.Volume {
	return corev1.Volume{
		Name:         VolumeName(f.user),
		VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: &f.mode, Sources: sources}},
	}
}

// meshFiles are the files of the listener for pods with a sidecar, by the plain names.
func (f form) meshFiles() corev1.VolumeProjection {
	source := fromConfigMap(v1alpha1.ClientConfigName(f.user), false, clientconfig.Files(v1alpha1.ScopeMesh)...)
	for i, plain := range clientconfig.Files("") {
		source.ConfigMap.Items[i].Path = plain
	}
	return source
}

func fromConfigMap(name string, optional bool, keys ...string) corev1.VolumeProjection {
	source := &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: same(keys...)}
	if optional {
		source.Optional = &optional
	}
	return corev1.VolumeProjection{ConfigMap: source}
}

// credentials are key and certificate: from the KafkaUser's Secret, or by the kubelet.
func (f form) credentials() corev1.VolumeProjection {
	if f.signer == "" {
		return corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: v1alpha1.CertificateName(f.user)},
			Items: append(same(v1alpha1.FileCertificate, v1alpha1.FileKey),
				corev1.KeyToPath{Key: v1alpha1.KeyCombinedPEM, Path: v1alpha1.FileKeystore}),
		}}
	}
	return corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{
		SignerName: f.signer, KeyType: string(v1alpha1.KeyECDSAP256), MaxExpirationSeconds: &f.life,
		CredentialBundlePath: v1alpha1.FileKeystore, KeyPath: v1alpha1.FileKey, CertificateChainPath: v1alpha1.FileCertificate,
		UserAnnotations: map[string]string{v1alpha1.AnnotationUser: f.user},
	}}
}

// kubeletOnly tells whether the declaration says that nobody but the kubelet may have the key.
func kubeletOnly(user *v1alpha1.KafkaUser) bool {
	return user.Spec.Certificate != nil && user.Spec.Certificate.Delivery == v1alpha1.DeliveryPodCertificate
}

// signer returns whom the kubelet asks for the certificates of the user's pods; "" where pods get the Secret, or where it
// is not known: the status says nothing yet, or was written before the declaration said otherwise. A signer that is not
// Signet's is none.
func signer(user *v1alpha1.KafkaUser) string {
	if user == nil || user.Status.Delivery != v1alpha1.DeliveryPodCertificate || !isSigner(user.Status.SignerName) {
		return ""
	}
	if c := user.Spec.Certificate; c != nil {
		if c.Delivery == v1alpha1.DeliverySecret || len(c.Keystores) > 0 {
			return ""
		}
		if ref := c.IssuerRef; ref != nil && (!ref.IsMeshIssuer() || v1alpha1.SignerName(ref.Name) != user.Status.SignerName) {
			return ""
		}
	}
	return user.Status.SignerName
}

func isSigner(name string) bool { return strings.HasPrefix(name, v1alpha1.SignerName("")) }

// The bounds of maxExpirationSeconds in the API (certificates.k8s.io/v1). The lower one is the default: where the kubelet
// renews, nothing speaks for a longer life.
const (
	minKubeletLife = time.Hour
	maxKubeletLife = 91 * 24 * time.Hour
)

// kubeletLife returns the lifetime in seconds of the certificates that the kubelet asks for.
func kubeletLife(user *v1alpha1.KafkaUser) int32 {
	life := minKubeletLife
	if c := user.Spec.Certificate; c != nil && c.Duration != nil {
		life = c.Duration.Duration
	}
	return int32(min(max(life, minKubeletLife), maxKubeletLife) / time.Second)
}

// isOurs tells whether a volume is the one that Signet makes for the user, in any form, maybe an earlier version's: it
// projects the user's credentials and ConfigMaps, perhaps more of the same where that is optional, and nothing else, or the
// files for pods with a sidecar alone. The form that a pod was made with stays.
func isOurs(v *corev1.Volume, user string) bool {
	if v.Projected == nil {
		return false
	}
	if isMeshs(v.Projected, user) {
		return true
	}
	const credentials = "credentials"
	// What must be there, and whether it is missing.
	missing := map[string]bool{
		credentials: true,
		"configmap/" + v1alpha1.ClientConfigName(user): true,
		"configmap/" + v1alpha1.TrustBundleName(user):  true,
	}
	for _, source := range v.Projected.Sources {
		var key string
		var optional *bool
		switch {
		case source.Secret != nil && source.Secret.Name == v1alpha1.CertificateName(user):
			key, optional = credentials, source.Secret.Optional
		case isKubelets(source.PodCertificate, user):
			key = credentials
		case source.ConfigMap != nil:
			key, optional = "configmap/"+source.ConfigMap.Name, source.ConfigMap.Optional
		}
		isOptional := optional != nil && *optional
		first, ours := missing[key]
		if !ours || !first && !isOptional {
			return false
		}
		if !isOptional {
			missing[key] = false
		}
	}
	return !slices.Contains(slices.Collect(maps.Values(missing)), true)
}

// isMeshs tells whether the volume has the files of the user for pods with a sidecar, and nothing else.
func isMeshs(p *corev1.ProjectedVolumeSource, user string) bool {
	return len(p.Sources) == 1 && apiequality.Semantic.DeepEqual(p.Sources[0], form{user: user, mesh: true}.meshFiles())
}

func isKubelets(p *corev1.PodCertificateProjection, user string) bool {
	return p != nil && isSigner(p.SignerName) && maps.Equal(p.UserAnnotations, map[string]string{v1alpha1.AnnotationUser: user})
}

// fileMode is the mode of the files in a pod's volumes, which root owns.
//
// With fsGroup the kubelet gives the files to that group, which every container of the pod is in: 0440. Where every
// container surely runs as root, nobody else needs to read: 0400. Otherwise the user id of a container may come from its
// image, which admission cannot see, and nothing but "others" would let it read: 0444. That opens the files to every
// process of this pod's containers and to nobody else: on the node, the kubelet's directory above them is root's alone.
//
// What the kubelet makes itself (podCertificate) has that mode too, but where the pod has an fsGroup, or one user for all
// of its containers: then it is 0600 of that user, and 0640 of that group.
//
// Only the chosen containers count; nil means all.
func fileMode(spec *corev1.PodSpec, chosen []string) int32 {
	if spec.SecurityContext != nil && spec.SecurityContext.FSGroup != nil {
		return 0o440
	}
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			if isChosen(chosen, &containers[i]) && !runsAsRoot(spec, &containers[i]) {
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

// mountRoot is the directory that holds the places of all users.
var mountRoot = directory(v1alpha1.MountRoot)

// mounted tells whether the container has the user's volume at its place. It errs where something else is there, or
// inside, or on the directory that holds the places of all users: one of the two mounts would hide the other.
func mounted(c *corev1.Container, gets *additions) (bool, error) {
	found := false
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		at := directory(m.MountPath)
		switch {
		case at == gets.directory && m.Name == gets.volumeName:
			found = true
		case at == gets.directory, at == mountRoot, strings.HasPrefix(at, gets.directory) && at[len(gets.directory)] == '/':
			return false, refuse(ReasonMountPath, "container %.63s mounts volume %.63s at %.200s, where Signet mounts the files of KafkaUser %s (%s): mount yours elsewhere",
				c.Name, m.Name, m.MountPath, gets.user, clientconfig.Dir(gets.user))
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
