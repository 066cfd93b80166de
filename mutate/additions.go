// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/lru"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/clientconfig"
)

// additions are what a pod and its containers get for one KafkaUser, in JSON. They are shared: nobody changes them.
type additions struct {
	user, volumeName string
	// directory is the one of the user's files, as directory returns it.
	directory string

	volume, mount []byte
	// variables are those of a container whose first KafkaUser this is.
	variables []variable
}

// variable is the JSON of an environment variable of this name.
type variable struct {
	name string
	text []byte
}

// encoded keeps the additions of the forms last asked for, about 3 KiB each: pods of one workload come together, and the
// encoding is a third of what the mutation of one costs.
var encoded = lru.New(1024)

// additionsFor returns what each of the declaration's KafkaUsers adds to the pod, in their order.
func additionsFor(spec *corev1.PodSpec, declaration Declaration, users map[string]User) ([]*additions, error) {
	mode := fileMode(spec, declaration.Containers)
	gets := make([]*additions, len(declaration.Users))
	for i, name := range declaration.Users {
		f := formOf(name, users[name].KafkaUser, byMesh(spec, name, users[name]), mode)
		if known, ok := encoded.Get(f); ok {
			gets[i] = known.(*additions)
			continue
		}
		made, err := f.encode()
		if err != nil {
			return nil, fmt.Errorf("encode what KafkaUser %s adds: %w", name, err)
		}
		encoded.Add(f, made)
		gets[i] = made
	}
	return gets, nil
}

// byMesh tells whether the pod has, or gets, the files for pods with a sidecar. What it was made with stays.
func byMesh(spec *corev1.PodSpec, name string, user User) bool {
	for i := range spec.Volumes {
		if v := &spec.Volumes[i]; v.Name == VolumeName(name) && v.Projected != nil {
			return isMeshs(v.Projected, name)
		}
	}
	return user.ByMesh
}

func (f form) encode() (*additions, error) {
	made := &additions{user: f.user, volumeName: VolumeName(f.user), directory: directory(clientconfig.Dir(f.user))}
	var err error
	if made.volume, err = json.Marshal(f.volume()); err != nil {
		return nil, err
	}
	if made.mount, err = json.Marshal(mount(f.user)); err != nil {
		return nil, err
	}
	var scope v1alpha1.ListenerScope
	if f.mesh {
		scope = v1alpha1.ScopeMesh
	}
	for _, v := range clientconfig.Environment(f.user, scope) {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		made.variables = append(made.variables, variable{v.Name, text})
	}
	return made, nil
}
