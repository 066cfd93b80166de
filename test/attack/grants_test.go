// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"testing"
)

// TestAnotherTeamsTopic: where a KafkaCluster's policy.grants is RBAC, nobody helps themselves to a topic on which they have
// not the verb, by a new KafkaUser, by a wider one, or by a prefix.
func TestAnotherTeamsTopic(t *testing.T) {
	t.Parallel()
	ns, brokers := own(t), unique("brokers")
	leaves(&shared.namespaces, brokers)
	apply(t, namespaceManifest(brokers))
	user := func(name, spec string) string {
		return fmt.Sprintf(`
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaUser
metadata: {name: %s, namespace: %s}
spec:
  clusterRef: {name: strict, namespace: %s}
  %s
`, name, ns, brokers, spec)
	}
	apply(t, fmt.Sprintf(`
apiVersion: kafka.signet.dev/v1alpha1
kind: KafkaCluster
metadata: {name: strict, namespace: %[1]s}
spec:
  listeners: [{name: mtls, bootstrapServers: ["kafka.%[1]s:9093"], scope: Cluster}]
  admin: {listener: mtls}
  certificates: {issuerRef: {name: mesh}}
  namespaceSelector: {}
  policy: {grants: RBAC}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: topics, namespace: %[1]s}
rules:
- {apiGroups: [kafka.signet.dev], resources: [kafkatopics], resourceNames: [orders, "refunds-*"], verbs: [consume]}
- {apiGroups: [kafka.signet.dev], resources: [kafkatopics], resourceNames: [audit], verbs: [administer]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: topics, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: topics}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[2]s}]
`, brokers, mallory))
	eventually(t, "the webhook knows the KafkaCluster", func() (bool, string) {
		out, ok := as(t, mallory, user("probe", "consume: [payments]"), "create", "--dry-run=server", "-f", "-")
		return !ok, out
	})
	const refused = "with policy.grants RBAC that needs the verb"
	for name, spec := range map[string]string{
		"consume":                       "consume: [payments]",
		"produce where she may consume": "produce: [orders]",
		"one among many":                "consume: [orders, payments]",
		"a prefix of her topic":         `consume: ["ord*"]`,
		"everything":                    `consume: ["refunds-*", "r*"]`,
		"her namespace's own":           fmt.Sprintf("admin: [%s-changelog]", ns),
	} {
		t.Run(name, func(t *testing.T) { forbidden(t, mallory, user(unique("grab"), spec), refused, "create", "-f", "-") })
	}
	for name, spec := range map[string]string{
		"what she may consume":                    "consume: [orders, refunds-eu, refunds-us.daily]",
		"who administers may consume and produce": "consume: [audit]\n  produce: [audit]",
		"no topic": "consumerGroups: [batch]",
	} {
		t.Run(name, func(t *testing.T) { mustAs(t, mallory, user(unique("fair"), spec), "create", "-f", "-") })
	}
	t.Run("widened later", func(t *testing.T) {
		name := unique("narrow")
		mustAs(t, mallory, user(name, "consume: [orders]"), "create", "-f", "-")
		forbidden(t, mallory, "", refused, "-n", ns, "patch", "kafkauser", name, "--type=merge", "-p", `{"spec":{"produce":["payments"]}}`)
		mustAs(t, mallory, "", "-n", ns, "patch", "kafkauser", name, "--type=merge", "-p", `{"spec":{"consume":["refunds-eu"]}}`)
	})
}
