// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// TopicRight is what somebody needs in order to declare one entry of a KafkaUser.
type TopicRight struct {
	// Entry is the entry, Path where it stands.
	Entry string
	Path  *field.Path
	// Any of these suffices; the first is the one to ask for.
	Any []authorizationv1.ResourceAttributes
}

// Missing says that somebody has not the right, and which one to ask for.
func (r TopicRight) Missing(who string) *field.Error {
	first := r.Any[0]
	return field.Forbidden(r.Path, fmt.Sprintf("%s may not %s topic %s: with policy.grants RBAC that needs the verb %s on kafkatopics.%s named %s in namespace %s",
		who, first.Verb, r.Entry, first.Verb, first.Group, first.Name, first.Namespace))
}

// TopicRights returns what the author of a KafkaUser needs. old is nil when it is created; of an update only the entries count
// that it brings in. Without policy.grants RBAC nothing is needed.
//
// A right counts in the KafkaCluster's namespace, whose administrators give it for any topic, and, for topics that start
// with "<namespace>-", in the KafkaUser's own. It is given for a topic by name, or by a prefix that ends where a part of the
// name does, at a -, a . or a _. Who may produce may consume, and who may administer may do both, as the bundles do.
func TopicRights(old, user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster) []TopicRight {
	if cluster == nil || cluster.Spec.Policy.Grants != v1alpha1.GrantsRBAC {
		return nil
	}
	var before v1alpha1.KafkaUserSpec
	if old != nil {
		before = old.Spec
	}
	var rights []TopicRight
	for _, list := range []struct {
		name     string
		had, has []string
		verbs    []string
	}{
		{"consume", before.Consume, user.Spec.Consume, []string{v1alpha1.VerbConsume, v1alpha1.VerbProduce, v1alpha1.VerbAdminister}},
		{"produce", before.Produce, user.Spec.Produce, []string{v1alpha1.VerbProduce, v1alpha1.VerbAdminister}},
		{"admin", before.Admin, user.Spec.Admin, []string{v1alpha1.VerbAdminister}},
	} {
		for i, entry := range list.has {
			if slices.Contains(list.had, entry) {
				continue
			}
			namespaces := []string{cluster.Namespace}
			if strings.HasPrefix(entry, user.Namespace+"-") && user.Namespace != cluster.Namespace {
				namespaces = append(namespaces, user.Namespace)
			}
			right := TopicRight{Entry: entry, Path: field.NewPath("spec", list.name).Index(i)}
			for _, verb := range list.verbs {
				for _, namespace := range namespaces {
					for _, name := range coveringNames(entry) {
						right.Any = append(right.Any, authorizationv1.ResourceAttributes{
							Namespace: namespace, Verb: verb, Group: v1alpha1.GroupVersion.Group, Resource: v1alpha1.ResourceTopics, Name: name,
						})
					}
				}
			}
			rights = append(rights, right)
		}
	}
	return rights
}

// coveringNames returns the names by which a right on an entry can be given: its own, and the prefixes that cover it, the
// longest first.
func coveringNames(entry string) []string {
	names := []string{entry}
	name := strings.TrimSuffix(entry, "*")
	for i := len(name) - 1; i > 0; i-- {
		if prefix := name[:i] + "*"; strings.ContainsRune("-._", rune(name[i-1])) && prefix != entry {
			names = append(names, prefix)
		}
	}
	if entry != "*" {
		names = append(names, "*")
	}
	return names
}

// AuthorOf returns who has to have the rights of a KafkaUser that the requester writes: the requester, or, where that is
// Signet's controller, which makes KafkaUsers of what pods declare, the service account that those pods run as.
func AuthorOf(requester authenticationv1.UserInfo, controller string, user *v1alpha1.KafkaUser) authenticationv1.UserInfo {
	if requester.Username != controller || user.Spec.Workload == nil {
		return requester
	}
	return authenticationv1.UserInfo{
		Username: "system:serviceaccount:" + user.Namespace + ":" + user.Spec.Workload.ServiceAccountName,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + user.Namespace, "system:authenticated"},
	}
}

// Authorize tells whether somebody has a right (SubjectAccessReview).
type Authorize func(ctx context.Context, who authenticationv1.UserInfo, right *authorizationv1.ResourceAttributes) (bool, error)

// Authors say who wrote a KafkaUser and what they may do.
type Authors struct {
	// Authorize is asked where the KafkaCluster's policy.grants is RBAC.
	Authorize Authorize
	// Controller is the user name of Signet's controller.
	Controller string
}

// rightsAtOnce bounds the questions about one KafkaUser at the same time.
const rightsAtOnce = 16

// missingRights returns a problem for each right that somebody has not.
func missingRights(ctx context.Context, authorize Authorize, who authenticationv1.UserInfo, rights []TopicRight) ([]error, error) {
	missing := make([]error, len(rights))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(rightsAtOnce)
	for i, right := range rights {
		group.Go(func() error {
			for _, attributes := range right.Any {
				if ok, err := authorize(ctx, who, &attributes); err != nil {
					return fmt.Errorf("ask whether %s may %s topic %s: %w", who.Username, attributes.Verb, right.Entry, err)
				} else if ok {
					return nil
				}
			}
			missing[i] = right.Missing(who.Username)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(missing, func(err error) bool { return err == nil }), nil
}
