// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/convert"
	"github.com/signet-kafka/signet/observe"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/principal/subject"
)

// suggestOptions say for whom KafkaUsers are suggested.
type suggestOptions struct {
	all          bool
	principal    string
	as, clientID string
	cluster      string
}

func newSuggestCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var flags logFlags
	var o suggestOptions
	cmd := &cobra.Command{
		Use:   "suggest (PRINCIPAL | --all) --dir DIR",
		Short: "Make KafkaUsers of what clients were seen to do",
		Long: `Writes KafkaUsers, ready to apply, with the smallest lists by which their clients are allowed what brokers with Signet's
authorizer saw them do: groups that are free are not listed, and a prefix is used only where it stands for three names or more
and for nothing else that exists. What was left out, and why, is in comments. It changes nothing.

A principal that is a KafkaUser's keeps everything else that the KafkaUser declares. Another one needs --as, which says what its
KafkaUser is to be; --client-id picks one of many clients that share a principal, as those without a certificate do
(User:ANONYMOUS). With --all the principals of which that is not known are named on the error stream, and super users are left
out.

The topic ` + observe.AccessTopic + ` is read with the credentials in a directory that kubectl signet sign or export wrote. Prefixes are
suggested where these credentials see every name: where they may describe ACLs, or nobody is enforced.`,
		Example: `  kubectl signet suggest --all --dir ./auditor > users.yaml
  kubectl signet suggest User:ANONYMOUS --client-id billing --as shop/billing --dir ./auditor`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == o.all {
				return errors.New("name a principal, or all of them with --all")
			}
			if o.all && (o.as != "" || o.clientID != "") {
				return errors.New("--as and --client-id are for one principal")
			}
			if len(args) == 1 {
				o.principal = withType(args[0])
			}
			c, namespace, err := connect(config)
			if err != nil {
				return err
			}
			cluster, err := findCluster(cmd.Context(), c, namespace, o.cluster)
			if err != nil {
				return err
			}
			seen, err := flags.observe(cmd.Context(), streams.ErrOut)
			if err != nil {
				return err
			}
			return suggest(cmd.Context(), c, cluster, seen, o, time.Now().Add(-flags.since), streams)
		},
	}
	flags.add(cmd, true, false)
	flags.require(cmd)
	cmd.Flags().BoolVar(&o.all, "all", false, "suggest for every principal that was seen")
	cmd.Flags().StringVar(&o.as, "as", "", "the KafkaUser that is to have the access: <namespace>/<name>")
	cmd.Flags().StringVar(&o.clientID, "client-id", "", "look at this client id only")
	cmd.Flags().StringVar(&o.cluster, "cluster", "", "KafkaCluster: [<namespace>/]<name>; default: the only one")
	return cmd
}

func suggest(ctx context.Context, c client.Reader, cluster *v1alpha1.KafkaCluster, seen *observation, o suggestOptions, since time.Time, streams genericiooptions.IOStreams) error {
	users, err := usersByPrincipal(ctx, c, cluster)
	if err != nil {
		return err
	}
	existing := seen.existing
	// What hides names from these credentials would also hide that a prefix stands for them.
	existing.Complete = seen.held || cluster.Spec.Authorization != nil && cluster.Spec.Authorization.Mode == v1alpha1.AuthorizationAudit
	if !existing.Complete {
		fmt.Fprintln(streams.ErrOut, "no prefixes are suggested: these credentials may not describe ACLs, and so may not see every name")
	}
	by := observe.ByPrincipal(seen.graph.Uses(func(k observe.Key) bool {
		return (o.all || k.Principal == o.principal) && (o.clientID == "" || k.ClientID == o.clientID)
	}))
	exempt := superUser(cluster)
	var out []convert.Converted
	for _, name := range slices.Sorted(maps.Keys(by)) {
		if o.all && exempt(name) {
			continue
		}
		user, err := userFor(name, o.as, users, cluster)
		if err != nil && o.all {
			fmt.Fprintf(streams.ErrOut, "left out: %s\n", printable(err.Error()))
			continue
		} else if err != nil {
			return err
		}
		uses := by[name]
		// A KafkaUser that takes another's place goes on with what it does itself.
		if own, err := principal.ForUser(cluster, user); err == nil && own != name {
			uses = slices.Concat(uses, seen.graph.Uses(func(k observe.Key) bool { return k.Principal == own }))
		}
		suggestion := observe.Suggest(uses, user, cluster, existing, since)
		if suggestion.Empty() {
			fmt.Fprintf(streams.ErrOut, "nothing to suggest for %s\n", printable(name))
			for _, note := range suggestion.Notes {
				fmt.Fprintf(streams.ErrOut, "  %s\n", printable(note))
			}
			continue
		}
		suggestion.Apply(user)
		out = append(out, convert.Converted{Source: source(name, o.clientID, by[name]), Object: user, Notes: suggestion.Notes})
	}
	if len(by) == 0 {
		fmt.Fprintln(streams.ErrOut, "nothing was seen")
	}
	return convert.WriteYAML(streams.Out, out)
}

// source says what a suggestion is made of.
func source(name, clientID string, uses []observe.Use) string {
	first, last := uses[0].First, uses[0].Last
	for _, u := range uses {
		if u.First.Before(first) {
			first = u.First
		}
		if u.Last.After(last) {
			last = u.Last
		}
	}
	if clientID != "" {
		name += " with the client id " + clientID
	}
	return fmt.Sprintf("what %s did from %s to %s", name, first.Format(time.RFC3339), last.Format(time.RFC3339))
}

// serviceAccounts is the form of principals of workloads of the mesh that are no KafkaUser's: User:sa:<namespace>.<service
// account>.
const serviceAccounts = principal.TypeUser + "sa:"

// userFor returns the KafkaUser, as it is to be applied, for what a principal did: the one that has the principal, the one
// that as names (<namespace>/<name>), or the one that would have the principal.
func userFor(name, as string, users map[string]*v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster) (*v1alpha1.KafkaUser, error) {
	if existing := users[name]; existing != nil && as == "" {
		return applicable(existing), nil
	}
	if as == "" {
		return unclaimed(name, users, cluster)
	}
	namespace, own, ok := strings.Cut(as, "/")
	if !ok || len(validation.IsDNS1123Label(namespace))+len(validation.IsDNS1123Label(own)) > 0 {
		return nil, fmt.Errorf("--as %s: say <namespace>/<name>, both of a-z, 0-9 and -", as)
	}
	user := newUser(namespace, own, cluster)
	for _, u := range users {
		if u.Namespace == namespace && u.Name == own {
			user = applicable(u)
		}
	}
	// A client of another CA, on brokers that take its subject as it is, stays the same client as the KafkaUser.
	if dn := strings.TrimPrefix(name, principal.TypeUser); subject.Check(dn) == nil && strings.Contains(dn, "=") && !slices.Contains(user.Spec.ExternalSubjects, dn) {
		user.Spec.ExternalSubjects = append(user.Spec.ExternalSubjects, dn)
	}
	return user, nil
}

// unclaimed returns the KafkaUser that would have a principal which is nobody's yet.
func unclaimed(name string, users map[string]*v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster) (*v1alpha1.KafkaUser, error) {
	text, account := strings.CutPrefix(name, serviceAccounts)
	if !account {
		text = strings.TrimPrefix(name, principal.TypeUser)
	}
	namespace, own, ok := strings.Cut(text, ".")
	if ok && len(validation.IsDNS1123Label(namespace))+len(validation.IsDNS1123Label(own)) == 0 {
		user := newUser(namespace, own, cluster)
		if account {
			user.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: own}
		}
		become, err := principal.ForUser(cluster, user)
		if err == nil && (become == name || account) && users[become] == nil {
			return user, nil
		}
	}
	return nil, fmt.Errorf("%s is no KafkaUser's: kubectl signet suggest '%s' --as <namespace>/<name> says whose it is to be", name, name)
}

// newUser returns a KafkaUser of the cluster that declares nothing.
func newUser(namespace, name string, cluster *v1alpha1.KafkaCluster) *v1alpha1.KafkaUser {
	return applicable(&v1alpha1.KafkaUser{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.KafkaUserSpec{ClusterRef: v1alpha1.ClusterReference{Namespace: cluster.Namespace, Name: cluster.Name}},
	})
}

// applicable returns a KafkaUser with what a manifest has.
func applicable(user *v1alpha1.KafkaUser) *v1alpha1.KafkaUser {
	return &v1alpha1.KafkaUser{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "KafkaUser"},
		ObjectMeta: metav1.ObjectMeta{Namespace: user.Namespace, Name: user.Name, Labels: user.Labels},
		Spec:       *user.Spec.DeepCopy(),
	}
}
