// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/observe"
)

func newPreflightCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var flags logFlags
	var cluster, user string
	cmd := &cobra.Command{
		Use:   "preflight [--user USER] --dir DIR",
		Short: "Show what would be denied if it were enforced now",
		Long: `Compares what brokers with Signet's authorizer saw with the ACLs of now, and shows what they do not allow: who would break,
and when it was seen last. Super users are those of the KafkaCluster's spec.superUsers. It changes nothing.

The credentials in the directory read the topic ` + observe.AccessTopic + ` and, where they may, the ACLs; where they may not, what
KafkaUsers declare counts as their ACLs.

Exit code: 0 when nothing would be denied, 1 when something would, 2 when it could not be found out.`,
		Example: "  kubectl signet preflight --dir ./auditor\n  kubectl signet preflight --user shop/orders --dir ./auditor",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			c, namespace, err := connect(config)
			if err != nil {
				return err
			}
			found, err := findCluster(cmd.Context(), c, namespace, cluster)
			if err != nil {
				return err
			}
			seen, err := flags.observe(cmd.Context(), streams.ErrOut)
			if err != nil {
				return err
			}
			p := preflight{cluster: found, seen: seen, now: time.Now(), since: flags.since, complaints: streams.ErrOut}
			if p.users, err = usersByPrincipal(cmd.Context(), c, found); err != nil {
				return err
			}
			only := ""
			if user != "" {
				if only, err = p.principalOf(parseUser(user, namespace)); err != nil {
					return err
				}
			}
			denied := p.wouldBeDenied(only)
			if err := writeUses(streams.Out, flags.output, denied, p.now, "PRINCIPAL", "TYPE", "NAME", "OPERATION", "SERVED", "CLIENT IDS"); err != nil {
				return err
			}
			if len(denied) > 0 {
				return errNotReady
			}
			fmt.Fprintln(streams.ErrOut, "nothing would be denied")
			return nil
		},
	}
	flags.add(cmd, true, true)
	flags.require(cmd)
	cmd.Flags().StringVar(&user, "user", "", "look at one KafkaUser: [<namespace>/]<name>")
	cmd.Flags().StringVar(&cluster, "cluster", "", "KafkaCluster: [<namespace>/]<name>; default: the only one")
	return cmd
}

// parseUser reads [<namespace>/]<name>.
func parseUser(text, namespace string) client.ObjectKey {
	if before, after, ok := strings.Cut(text, "/"); ok {
		return client.ObjectKey{Namespace: before, Name: after}
	}
	return client.ObjectKey{Namespace: namespace, Name: text}
}

// preflight compares what was observed with the ACLs.
type preflight struct {
	cluster *v1alpha1.KafkaCluster
	// users of the cluster by principal.
	users      map[string]*v1alpha1.KafkaUser
	seen       *observation
	now        time.Time
	since      time.Duration
	complaints io.Writer
}

// principalOf returns the principal of a KafkaUser of the cluster.
func (p preflight) principalOf(key client.ObjectKey) (string, error) {
	for name, u := range p.users {
		if client.ObjectKeyFromObject(u) == key {
			return name, nil
		}
	}
	return "", fmt.Errorf("KafkaCluster %s/%s has no KafkaUser %s; see kubectl get kafkausers -n %s", p.cluster.Namespace, p.cluster.Name, key, key.Namespace)
}

// wouldBeDenied returns what would be denied of one principal, or of all ("").
func (p preflight) wouldBeDenied(only string) []observe.Use {
	uses := p.seen.graph.Uses(func(k observe.Key) bool { return only == "" || k.Principal == only })
	if only != "" && len(uses) == 0 {
		fmt.Fprintf(p.complaints, "nothing was seen of %s\n", printable(only))
	}
	rules := access.NewRules(p.seen.acls)
	if !p.seen.held {
		fmt.Fprintln(p.complaints, "these credentials may not describe ACLs: what KafkaUsers declare counts as their ACLs")
		declared := access.Bindings{}
		for _, u := range p.users {
			for b := range access.DeclaredBy(u, p.cluster, access.Facts{}).Bindings {
				declared[b] = struct{}{}
			}
		}
		rules = access.RulesOf(declared)
	}
	return observe.WouldBeDenied(uses, rules, p.now.Add(-p.since), superUser(p.cluster))
}

// enforceOptions say whom to enforce.
type enforceOptions struct {
	users []client.ObjectKey
	// namespace of --all-ready; "" for all of them.
	namespace string
	allReady  bool
	force     bool
}

func newEnforceCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var flags logFlags
	var o enforceOptions
	var cluster string
	var everywhere bool
	cmd := &cobra.Command{
		Use:   "enforce (USER... | --all-ready)",
		Short: "Have KafkaUsers denied what their ACLs do not allow",
		Long: `Sets enforcement: Enforce in KafkaUsers, so that brokers with Signet's authorizer deny what their ACLs do not allow, in the mode
Hybrid of the KafkaCluster too. A KafkaUser of which something would be denied that it was seen to do is left as it is, unless
--force is set. With --all-ready it takes every KafkaUser of the namespace (or of all, with -A) that was seen and of which nothing
would be denied.

What would be denied is in the KafkaUsers' condition ReadyToEnforce, which Signet keeps; with --dir the access log and the ACLs
are read instead, as preflight does.

Exit code: 0 when every KafkaUser that was named is enforced, 1 when one was left as it is, 2 when it could not be done.`,
		Example: "  kubectl signet enforce orders -n shop\n  kubectl signet enforce --all-ready -A",
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) > 0) == o.allReady {
				return errors.New("name KafkaUsers, or all that are ready with --all-ready")
			}
			if o.allReady && o.force {
				return errors.New("--force is for KafkaUsers that are named")
			}
			c, namespace, err := connect(config)
			if err != nil {
				return err
			}
			for _, arg := range args {
				o.users = append(o.users, parseUser(arg, namespace))
			}
			if o.namespace = namespace; everywhere {
				o.namespace = ""
			}
			found, err := findCluster(cmd.Context(), c, namespace, cluster)
			if err != nil {
				return err
			}
			p := preflight{cluster: found, now: time.Now(), since: flags.since, complaints: streams.ErrOut}
			if p.users, err = usersByPrincipal(cmd.Context(), c, found); err != nil {
				return err
			}
			if flags.dir != "" {
				if p.seen, err = flags.observe(cmd.Context(), streams.ErrOut); err != nil {
					return err
				}
			}
			return enforce(cmd.Context(), c, p, o, streams.Out)
		},
	}
	flags.add(cmd, true, false)
	cmd.Flags().StringVar(&cluster, "cluster", "", "KafkaCluster: [<namespace>/]<name>; default: the only one")
	cmd.Flags().BoolVar(&o.allReady, "all-ready", false, "enforce every KafkaUser of which nothing would be denied")
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "with --all-ready: in all namespaces")
	cmd.Flags().BoolVar(&o.force, "force", false, "enforce although something would be denied")
	return cmd
}

// knowledge is what is known of a KafkaUser before it is enforced.
type knowledge int

const (
	ready knowledge = iota
	unseen
	notReady
)

// enforce sets enforcement in KafkaUsers, and says of each what it did.
func enforce(ctx context.Context, c client.Client, p preflight, o enforceOptions, out io.Writer) error {
	names := map[client.ObjectKey]string{}
	for name, u := range p.users {
		names[client.ObjectKeyFromObject(u)] = name
	}
	keys := o.users
	if o.allReady {
		for key := range names {
			if o.namespace == "" || key.Namespace == o.namespace {
				keys = append(keys, key)
			}
		}
		slices.SortFunc(keys, func(a, b client.ObjectKey) int { return strings.Compare(a.String(), b.String()) })
	}
	left := false
	for _, key := range keys {
		name, ok := names[key]
		if !ok {
			_, err := p.principalOf(key)
			return err
		}
		user := p.users[name]
		if user.Spec.Enforcement == v1alpha1.EnforcementEnforce {
			if !o.allReady {
				fmt.Fprintf(out, "KafkaUser %s: enforced already%s\n", key, p.unless())
			}
			continue
		}
		state, why := p.judge(user, name)
		if state == notReady && !o.force || state == unseen && o.allReady {
			left = left || !o.allReady
			fmt.Fprintf(out, "KafkaUser %s: left as it is: %s\n", key, printable(why))
			continue
		}
		patch := client.MergeFrom(user.DeepCopy())
		user.Spec.Enforcement = v1alpha1.EnforcementEnforce
		if err := c.Patch(ctx, user, patch, client.FieldOwner("kubectl-signet")); err != nil {
			return fmt.Errorf("patch kafkauser %s: %w", key, err)
		}
		fmt.Fprintf(out, "KafkaUser %s: enforced%s: %s\n", key, p.unless(), printable(why))
	}
	if left {
		return errNotReady
	}
	return nil
}

// unless says what keeps the enforcement from being in force.
func (p preflight) unless() string {
	switch a := p.cluster.Spec.Authorization; {
	case a == nil:
		return fmt.Sprintf(" (once KafkaCluster %s/%s has an authorization)", p.cluster.Namespace, p.cluster.Name)
	case a.Mode == v1alpha1.AuthorizationHybrid || a.Mode == v1alpha1.AuthorizationEnforce:
		return ""
	}
	return fmt.Sprintf(" (once KafkaCluster %s/%s leaves the mode Audit)", p.cluster.Namespace, p.cluster.Name)
}

// judge says whether anything would be denied of a KafkaUser, by the access log if it was read, else by its condition.
func (p preflight) judge(user *v1alpha1.KafkaUser, name string) (knowledge, string) {
	if p.seen == nil {
		c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionReadyToEnforce)
		switch {
		case c == nil || c.ObservedGeneration != user.Generation:
			return unseen, "nothing is known (yet) of what it does"
		case c.Status == metav1.ConditionTrue:
			return ready, c.Message
		case c.Status == metav1.ConditionFalse:
			return notReady, c.Message
		}
		return unseen, c.Message
	}
	denied := p.wouldBeDenied(name)
	if len(denied) > 0 {
		first := denied[0]
		return notReady, fmt.Sprintf("%d accesses would be denied, such as %s on %s %s, seen %s", len(denied), first.Operation, strings.ToLower(first.Type), first.Name, ago(first.LastServed(), p.now))
	}
	since := p.now.Add(-p.since)
	if !slices.ContainsFunc(p.seen.graph.Uses(func(k observe.Key) bool { return k.Principal == name }), func(u observe.Use) bool { return !u.LastServed().Before(since) }) {
		return unseen, fmt.Sprintf("nothing was seen of %s in the last %s", name, p.since)
	}
	return ready, "nothing that was seen would be denied"
}
