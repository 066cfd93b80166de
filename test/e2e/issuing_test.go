// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import "testing"

// intruder gives a user everything that a namespace's developers usually have for certificates, and returns the
// kubectl flags that make one be that user.
func intruder(t *testing.T, ns string) []string {
	t.Helper()
	apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: developer, namespace: %[1]s}
rules:
- {apiGroups: [cert-manager.io], resources: [certificates, certificaterequests], verbs: ["*"]}
- {apiGroups: [kafka.signet.dev], resources: [kafkausers], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: developer, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: developer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: mallory}]
`, ns)
	return []string{"--as=mallory", "-n", ns}
}
