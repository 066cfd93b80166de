// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal/mapping"
)

// AuthorizerClass is the class in Signet's jar for brokers.
const AuthorizerClass = "dev.signet.kafka.broker.SignetAuthorizer"

// AuthorizationVersion is the version of the format of authorization.json.
const AuthorizationVersion = 1

// authorizationFile is the content of authorization.json.
type authorizationFile struct {
	Version int `json:"version"`
	// Cluster is the KafkaCluster, namespace/name.
	Cluster string `json:"cluster"`
	// Generation grows with each change of what brokers mount; at least 1.
	Generation int64 `json:"generation"`
	// Mode: Audit denies nobody, Hybrid only Enforced, Enforce everybody but Audited.
	Mode v1alpha1.AuthorizationMode `json:"mode"`
	// Enforced and Audited are principals with their type, sorted, each once.
	Enforced []string `json:"enforced"`
	Audited  []string `json:"audited"`
	// People is a pattern that matches principals as a whole.
	People string `json:"people,omitempty"`
}

// Asked is what a KafkaUser, whose principal is in force, asks of the brokers' authorizer.
type Asked struct {
	// Principal with its type.
	Principal string
	// Enforcement that its KafkaUser declares.
	Enforcement v1alpha1.Enforcement
}

// Authorization returns whom brokers of a cluster deny what the ACLs do not allow, and who is exempt, both sorted: those
// that the cluster's mode looks at, which are the enforced ones in the mode Hybrid and the audited ones in the mode
// Enforce. Who is on the cluster's own list is enforced whatever its KafkaUser says, and a KafkaUser is exempt only where
// the cluster allows exemptions.
func Authorization(a *v1alpha1.Authorization, users []Asked) (enforced, audited []string) {
	switch a.Mode {
	case v1alpha1.AuthorizationHybrid:
		enforced = slices.Clone(a.Enforced)
		for _, u := range users {
			if u.Enforcement == v1alpha1.EnforcementEnforce {
				enforced = append(enforced, u.Principal)
			}
		}
	case v1alpha1.AuthorizationEnforce:
		listed := make(map[string]bool, len(a.Enforced))
		for _, principal := range a.Enforced {
			listed[principal] = true
		}
		for _, u := range users {
			if u.Enforcement == v1alpha1.EnforcementAudit && a.Exemptions == v1alpha1.ExemptionsAllow && !listed[u.Principal] {
				audited = append(audited, u.Principal)
			}
		}
	}
	slices.Sort(enforced)
	slices.Sort(audited)
	return slices.Compact(enforced), slices.Compact(audited)
}

// renderAuthorization renders authorization.json.
func renderAuthorization(cluster *v1alpha1.KafkaCluster, users []Asked, generation int64) (string, error) {
	a := cluster.Spec.Authorization
	if a.People != "" {
		if err := mapping.CheckPattern(a.People); err != nil {
			return "", fmt.Errorf("spec.authorization.people of kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
		}
	}
	enforced, audited := Authorization(a, users)
	for _, principal := range a.Enforced {
		if err := mapping.CheckName(principal); err != nil {
			return "", fmt.Errorf("spec.authorization.enforced of kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
		}
	}
	file := authorizationFile{
		Version: AuthorizationVersion, Cluster: cluster.Namespace + "/" + cluster.Name, Generation: generation,
		Mode: cmp.Or(a.Mode, v1alpha1.AuthorizationAudit), People: a.People,
		Enforced: append([]string{}, enforced...), Audited: append([]string{}, audited...),
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(file); err != nil {
		return "", fmt.Errorf("render %s of kafkacluster %s/%s: %w", v1alpha1.KeyAuthorizationFile, cluster.Namespace, cluster.Name, err)
	}
	return text.String(), nil
}
