// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package declare

import (
	"regexp"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// topicVerbs are in the order of the lists consume, produce and admin of a KafkaUser.
var topicVerbs = []string{v1alpha1.VerbConsume, v1alpha1.VerbProduce, v1alpha1.VerbAdminister}

// groupOfAccounts begins the group of all service accounts of a namespace.
const groupOfAccounts = "system:serviceaccounts:"

// RBAC is what Kubernetes says of who may do what: the Roles and RoleBindings of the KafkaCluster's namespace, and all
// ClusterRoles and ClusterRoleBindings.
type RBAC struct {
	Roles               []rbacv1.Role
	RoleBindings        []rbacv1.RoleBinding
	ClusterRoles        []rbacv1.ClusterRole
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
}

// FromRBAC returns the KafkaUsers of the service accounts that have verbs on topics of the cluster, by service account: each is
// named after its account, in its namespace. accounts returns the names of a namespace's service accounts, for rights of all of
// them, and check what the cluster's policy refuses, which is left out.
//
// Only what is written out counts: a rule for every verb, resource or group, such as cluster-admin's, makes nobody a KafkaUser.
// A rule without names is every topic.
func FromRBAC(cluster *v1alpha1.KafkaCluster, rbac RBAC, accounts func(namespace string) []string, check func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster) []error) map[types.NamespacedName]*v1alpha1.KafkaUser {
	rules := map[rbacv1.RoleRef][]rbacv1.PolicyRule{}
	for _, role := range rbac.Roles {
		rules[rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name}] = role.Rules
	}
	for _, role := range rbac.ClusterRoles {
		rules[rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}] = role.Rules
	}
	users := map[types.NamespacedName]*v1alpha1.KafkaUser{}
	grant := func(ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		relevant := slices.DeleteFunc(slices.Clone(rules[ref]), func(rule rbacv1.PolicyRule) bool { return !isOfTopics(rule) })
		if len(relevant) == 0 {
			return
		}
		for _, account := range accountsOf(subjects, accounts) {
			user := users[account]
			if user == nil {
				user = fromRBAC(account, cluster)
				users[account] = user
			}
			for _, rule := range relevant {
				addRule(user, rule)
			}
		}
	}
	for _, binding := range rbac.RoleBindings {
		grant(binding.RoleRef, binding.Subjects)
	}
	for _, binding := range rbac.ClusterRoleBindings {
		grant(binding.RoleRef, binding.Subjects)
	}
	for account, user := range users {
		if !permitted(user, cluster, check) {
			delete(users, account)
		}
	}
	return users
}

// isOfTopics tells whether a rule says what may be done with topics, in so many words.
func isOfTopics(rule rbacv1.PolicyRule) bool {
	return slices.Contains(rule.APIGroups, v1alpha1.GroupVersion.Group) && slices.Contains(rule.Resources, v1alpha1.ResourceTopics) &&
		slices.ContainsFunc(rule.Verbs, func(verb string) bool { return slices.Contains(topicVerbs, verb) })
}

// accountsOf returns the service accounts among the subjects that can have a KafkaUser: the names of KafkaUsers are DNS labels.
func accountsOf(subjects []rbacv1.Subject, accounts func(string) []string) []types.NamespacedName {
	var out []types.NamespacedName
	add := func(namespace, name string) {
		if len(validation.IsDNS1123Label(name)) == 0 {
			out = append(out, types.NamespacedName{Namespace: namespace, Name: name})
		}
	}
	for _, s := range subjects {
		switch namespace, all := strings.CutPrefix(s.Name, groupOfAccounts); {
		case s.Kind == rbacv1.ServiceAccountKind && s.Namespace != "":
			add(s.Namespace, s.Name)
		case s.Kind == rbacv1.GroupKind && all:
			for _, name := range accounts(namespace) {
				add(namespace, name)
			}
		}
	}
	return out
}

func fromRBAC(account types.NamespacedName, cluster *v1alpha1.KafkaCluster) *v1alpha1.KafkaUser {
	return &v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name, Labels: map[string]string{v1alpha1.LabelDeclaredBy: v1alpha1.DeclaredByRBAC}},
		Spec: v1alpha1.KafkaUserSpec{
			ClusterRef: v1alpha1.ClusterReference{Namespace: cluster.Namespace, Name: cluster.Name},
			Workload:   &v1alpha1.Workload{ServiceAccountName: account.Name},
		},
	}
}

// topicEntry is the pattern of the lists of a KafkaUser.
var topicEntry = regexp.MustCompile(`^(\*|[a-zA-Z0-9._-]+\*?)$`)

// addRule adds what a rule allows to the lists of a user.
func addRule(user *v1alpha1.KafkaUser, rule rbacv1.PolicyRule) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{"*"}
	}
	for i, list := range []*[]string{&user.Spec.Consume, &user.Spec.Produce, &user.Spec.Admin} {
		if !slices.Contains(rule.Verbs, topicVerbs[i]) {
			continue
		}
		for _, name := range names {
			if len(name) <= 249 && topicEntry.MatchString(name) {
				*list = append(*list, name)
			}
		}
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
}

// permitted removes from a user what the cluster's policy refuses, and tells whether anything is left.
func permitted(user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, check func(*v1alpha1.KafkaUser, *v1alpha1.KafkaCluster) []error) bool {
	left := 0
	for _, list := range []func(*v1alpha1.KafkaUserSpec) *[]string{
		func(s *v1alpha1.KafkaUserSpec) *[]string { return &s.Consume },
		func(s *v1alpha1.KafkaUserSpec) *[]string { return &s.Produce },
		func(s *v1alpha1.KafkaUserSpec) *[]string { return &s.Admin },
	} {
		entries := list(&user.Spec)
		*entries = slices.DeleteFunc(*entries, func(entry string) bool {
			alone := fromRBAC(types.NamespacedName{Namespace: user.Namespace, Name: user.Name}, cluster)
			*list(&alone.Spec) = []string{entry}
			return len(check(alone, cluster)) > 0
		})
		left += len(*entries)
	}
	return left > 0
}

// IsFromRBAC tells whether a KafkaUser is made of what Kubernetes RBAC says.
func IsFromRBAC(user *v1alpha1.KafkaUser) bool {
	return user.Labels[v1alpha1.LabelDeclaredBy] == v1alpha1.DeclaredByRBAC
}
