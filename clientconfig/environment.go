// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package clientconfig

import (
	"path"

	corev1 "k8s.io/api/core/v1"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Environment variables that a container gets.
const (
	// EnvBootstrapServers holds host:port[,host:port…].
	EnvBootstrapServers = "KAFKA_BOOTSTRAP_SERVERS"
	// EnvSecurityProtocol holds SSL or PLAINTEXT; it belongs to the servers in EnvBootstrapServers.
	EnvSecurityProtocol = "KAFKA_SECURITY_PROTOCOL"
	// EnvClientConfig holds the path of the Java client's properties.
	EnvClientConfig = "KAFKA_CLIENT_CONFIG"
	// EnvLibrdkafkaConfig holds the path of librdkafka's configuration.
	EnvLibrdkafkaConfig = "KAFKA_LIBRDKAFKA_CONFIG"
	// EnvClientJSON holds the path of the JSON file.
	EnvClientJSON = "KAFKA_CLIENT_JSON"
)

// Dir is the directory of the KafkaUser's files in a container.
func Dir(user string) string { return path.Join(v1alpha1.MountRoot, user) }

// environmentKeys are the keys of the user's client ConfigMap that hold the servers and the protocol of the scope's
// listener for variables; "" where there are no such variables.
func environmentKeys(scope v1alpha1.ListenerScope) (servers, protocol string) {
	switch scope {
	case "":
		return v1alpha1.KeyBootstrapServers, v1alpha1.KeySecurityProtocol
	case v1alpha1.ScopeMesh:
		return v1alpha1.KeyMeshBootstrapServers, v1alpha1.KeyMeshSecurityProtocol
	default:
		return "", ""
	}
}

// Environment returns the variables of a container that uses the KafkaUser with this name, in a fixed order, for the listener
// of its pods (scope "") or for that of pods with a sidecar (ScopeMesh). Values that depend on the cluster refer to the
// user's client ConfigMap, so that they need not be known when the pod is made.
func Environment(user string, scope v1alpha1.ListenerScope) []corev1.EnvVar {
	reference := func(name, key string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: v1alpha1.ClientConfigName(user)},
			Key:                  key,
		}}}
	}
	servers, protocol := environmentKeys(scope)
	return []corev1.EnvVar{
		reference(EnvBootstrapServers, servers),
		reference(EnvSecurityProtocol, protocol),
		{Name: EnvClientConfig, Value: path.Join(Dir(user), v1alpha1.FileJavaProperties)},
		{Name: EnvLibrdkafkaConfig, Value: path.Join(Dir(user), v1alpha1.FileLibrdkafka)},
		{Name: EnvClientJSON, Value: path.Join(Dir(user), v1alpha1.FileJSON)},
	}
}
