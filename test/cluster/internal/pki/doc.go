// Package pki makes the keys and certificates of a short-lived Kubernetes
// control plane: one authority for clients and servers, one for the API
// server's own requests to extension servers, the key pair of service account
// tokens, and the kubeconfigs of the components.
//
// It decides names and groups (kubeadm's, which Kubernetes' default RBAC
// bindings expect). It never reads an existing key: a cluster lives for hours
// and is made anew each time.
package pki
