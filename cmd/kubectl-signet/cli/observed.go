// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/observe"
	"github.com/signet-kafka/signet/principal"
)

// readTimeout bounds the reading of an access log.
const readTimeout = 5 * time.Minute

// logFlags say where the access log is, and which part of it counts.
type logFlags struct {
	dir, output string
	since       time.Duration
}

// add defines --dir, and --output and --since where they mean something.
func (f *logFlags) add(cmd *cobra.Command, since, output bool) {
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory with credentials of a client that may read the topic "+observe.AccessTopic)
	if since {
		cmd.Flags().DurationVar(&f.since, "since", observe.Window, "how long ago counts")
	}
	if output {
		cmd.Flags().StringVarP(&f.output, "output", "o", "", "output format: json; default: a table")
	}
}

// require makes --dir indispensable.
func (*logFlags) require(cmd *cobra.Command) {
	if err := cmd.MarkFlagRequired("dir"); err != nil {
		panic(err) // add defines the flag
	}
}

func (f *logFlags) check() error {
	if f.output != "" && f.output != "json" {
		return fmt.Errorf("-o %s: the only other format is json", f.output)
	}
	return nil
}

// observation is what a Kafka says of its clients.
type observation struct {
	graph *observe.Graph
	// existing are the topics and groups that the credentials see.
	existing observe.Existing
	// acls are all there are; held tells that the credentials may see them.
	acls []access.Binding
	held bool
}

// readLog reads the access log, with the credentials in the directory.
func (f *logFlags) readLog(ctx context.Context, complaints io.Writer) (*observe.Graph, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	kafka, err := dialKafka(f.dir, observe.ConsumerOptions()...)
	if err != nil {
		return nil, err
	}
	defer kafka.Close()
	graph := observe.NewGraph()
	if err := observe.ReadAll(ctx, kafka, graph); err != nil {
		if errors.Is(err, kerr.TopicAuthorizationFailed) {
			return nil, fmt.Errorf("the client of %s may not read the topic %s: give its KafkaUser consume: [%s] (%w)", f.dir, observe.AccessTopic, observe.AccessTopic, err)
		}
		return nil, err
	}
	if size := graph.Size(); size.Malformed+size.Dropped > 0 {
		fmt.Fprintf(complaints, "of the access log %d records are malformed and %d are too many, and are not looked at\n", size.Malformed, size.Dropped)
	}
	return graph, nil
}

// observe reads the access log, and what is there beside it.
func (f *logFlags) observe(ctx context.Context, complaints io.Writer) (*observation, error) {
	graph, err := f.readLog(ctx, complaints)
	if err != nil {
		return nil, err
	}
	kafka, err := dialKafka(f.dir)
	if err != nil {
		return nil, err
	}
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	o := &observation{graph: graph}
	admin := kadm.NewClient(kafka)
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	groups, err := admin.ListGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	o.existing = observe.Existing{Topics: topics.Names(), Groups: groups.Groups()}
	o.acls, err = access.NewAdmin(f.dir, kafka).Describe(ctx)
	if o.held = err == nil; err != nil && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return nil, err
	}
	return o, nil
}

// findCluster returns the KafkaCluster of a --cluster flag; without one, the only one that there is.
func findCluster(ctx context.Context, c client.Reader, namespace, flag string) (*v1alpha1.KafkaCluster, error) {
	ref, err := clusterFlag(flag)
	if err != nil {
		return nil, err
	}
	if ref.Name != "" {
		ref = ref.In(namespace)
		var cluster v1alpha1.KafkaCluster
		err := get(ctx, c, "kafkacluster", client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &cluster)
		return &cluster, explain(err)
	}
	var list v1alpha1.KafkaClusterList
	if err := c.List(ctx, &list); err != nil {
		return nil, explain(fmt.Errorf("list kafkaclusters: %w", err))
	}
	if len(list.Items) != 1 {
		return nil, fmt.Errorf("there are %d KafkaClusters: name one with --cluster [<namespace>/]<name>", len(list.Items))
	}
	return &list.Items[0], nil
}

// usersByPrincipal returns the KafkaUsers of the cluster by their principals.
func usersByPrincipal(ctx context.Context, c client.Reader, cluster *v1alpha1.KafkaCluster) (map[string]*v1alpha1.KafkaUser, error) {
	var list v1alpha1.KafkaUserList
	if err := c.List(ctx, &list); err != nil {
		return nil, explain(fmt.Errorf("list kafkausers: %w", err))
	}
	users := map[string]*v1alpha1.KafkaUser{}
	for i := range list.Items {
		u := &list.Items[i]
		if u.Spec.ClusterRef.In(u.Namespace) != (v1alpha1.ClusterReference{Name: cluster.Name, Namespace: cluster.Namespace}) {
			continue
		}
		// Who has no principal was not seen.
		if name, err := principal.ForUser(cluster, u); err == nil {
			users[name] = u
		}
	}
	return users, nil
}

// superUser tells of the principals that no ACL restrains.
func superUser(cluster *v1alpha1.KafkaCluster) func(string) bool {
	return func(name string) bool {
		return name == principal.ForController(cluster.Namespace, cluster.Name) || slices.Contains(cluster.Spec.SuperUsers, name)
	}
}

func newAccessCommand(streams genericiooptions.IOStreams) *cobra.Command {
	var flags logFlags
	cmd := &cobra.Command{
		Use:   "access PRINCIPAL --dir DIR",
		Short: "Show what a principal was seen to use",
		Long: `Shows what brokers with Signet's authorizer recorded of a principal, such as User:shop.orders (or shop.orders): how often
it was allowed, tolerated (Kafka's rules deny it, and the authorizer's mode let it through) and denied, and when last. It
reads the topic ` + observe.AccessTopic + ` with the credentials in a directory that kubectl signet sign or export wrote.`,
		Example: "  kubectl signet access shop.orders --dir ./auditor",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			graph, err := flags.readLog(cmd.Context(), streams.ErrOut)
			if err != nil {
				return err
			}
			name := withType(args[0])
			return writeUses(streams.Out, flags.output, graph.Uses(func(k observe.Key) bool { return k.Principal == name }), time.Now(),
				"TYPE", "NAME", "OPERATION", "ALLOWED", "TOLERATED", "DENIED", "LAST SEEN", "CLIENT IDS")
		},
	}
	flags.add(cmd, false, true)
	flags.require(cmd)
	return cmd
}

// withType returns a principal with its type.
func withType(name string) string {
	if strings.HasPrefix(name, principal.TypeUser) {
		return name
	}
	return principal.TypeUser + name
}

func newClientsCommand(streams genericiooptions.IOStreams, use, verb, operation string) *cobra.Command {
	var flags logFlags
	cmd := &cobra.Command{
		Use:   use + " TOPIC --dir DIR",
		Short: fmt.Sprintf("Show who was seen to %s a topic", verb),
		Long: fmt.Sprintf(`Shows which principals brokers with Signet's authorizer saw %s a topic, by which client ids, and when last. It reads the
topic %s with the credentials in a directory that kubectl signet sign or export wrote.`, verb, observe.AccessTopic),
		Example: "  kubectl signet " + use + " orders --dir ./auditor",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			graph, err := flags.readLog(cmd.Context(), streams.ErrOut)
			if err != nil {
				return err
			}
			uses := graph.Uses(func(k observe.Key) bool {
				return k.Type == "TOPIC" && k.Name == args[0] && k.Operation == operation && k.Result != observe.Denied
			})
			return writeUses(streams.Out, flags.output, uses, time.Now(), "PRINCIPAL", "ALLOWED", "TOLERATED", "LAST SEEN", "CLIENT IDS")
		},
	}
	flags.add(cmd, false, true)
	flags.require(cmd)
	return cmd
}

// useColumns are what a table can show of a use.
var useColumns = map[string]func(observe.Use, time.Time) string{
	"PRINCIPAL": func(u observe.Use, _ time.Time) string { return u.Principal },
	"TYPE":      func(u observe.Use, _ time.Time) string { return u.Type },
	"NAME":      func(u observe.Use, _ time.Time) string { return u.Name },
	"OPERATION": func(u observe.Use, _ time.Time) string { return u.Operation },
	"ALLOWED":   func(u observe.Use, _ time.Time) string { return fmt.Sprint(u.Allowed) },
	"TOLERATED": func(u observe.Use, _ time.Time) string { return fmt.Sprint(u.Tolerated) },
	"DENIED":    func(u observe.Use, _ time.Time) string { return fmt.Sprint(u.Denied) },
	"LAST SEEN": func(u observe.Use, now time.Time) string { return ago(u.Last, now) },
	"SERVED":    func(u observe.Use, now time.Time) string { return ago(u.LastServed(), now) },
	"CLIENT IDS": func(u observe.Use, _ time.Time) string {
		text := strings.Join(u.ClientIDs, ", ")
		if more := u.Clients - len(u.ClientIDs); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		return text
	},
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return duration.HumanDuration(max(now.Sub(t), 0)) + " ago"
}

// writeUses writes uses as a table with these headings, or as JSON.
func writeUses(w io.Writer, output string, uses []observe.Use, now time.Time, headings ...string) error {
	if output == "json" {
		return writeList(w, uses)
	}
	rows := make([][]string, len(uses))
	for i, u := range uses {
		for _, heading := range headings {
			rows[i] = append(rows[i], useColumns[heading](u, now))
		}
	}
	return writeRows(w, headings, rows)
}

// writeList writes a list as JSON, [] where there is none.
func writeList[T any](w io.Writer, list []T) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(append([]T{}, list...))
}

// writeRows writes a table, nothing where it has no rows.
func writeRows(w io.Writer, headings []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{headings}, rows...) {
		for i, cell := range row {
			if row[i] = printable(cell); row[i] == "" {
				row[i] = "-"
			}
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}

func newNamingCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var flags logFlags
	var cluster string
	cmd := &cobra.Command{
		Use:   "naming --dir DIR",
		Short: "Show the topics and groups that follow no naming convention, and who probably owns them",
		Long: `Shows the topics that were used and do not start with "<namespace>-" of a namespace that the KafkaCluster admits, so that
nobody could administer them, and the groups that are not "<namespace>" or "<namespace>.…" of their user, so that they are not
free. The probable owner of a topic is who produces it most, else who consumes it most; of a group, who uses it most.`,
		Example: "  kubectl signet naming --dir ./auditor --cluster kafka/kafka",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			c, namespace, err := connect(config)
			if err != nil {
				return err
			}
			graph, err := flags.readLog(cmd.Context(), streams.ErrOut)
			if err != nil {
				return err
			}
			found, err := findCluster(cmd.Context(), c, namespace, cluster)
			if err != nil {
				return err
			}
			return naming(cmd.Context(), c, found, graph, flags.output, time.Now(), streams.Out)
		},
	}
	flags.add(cmd, false, true)
	flags.require(cmd)
	cmd.Flags().StringVar(&cluster, "cluster", "", "KafkaCluster: [<namespace>/]<name>; default: the only one")
	return cmd
}

func naming(ctx context.Context, c client.Reader, cluster *v1alpha1.KafkaCluster, graph *observe.Graph, output string, now time.Time, out io.Writer) error {
	users, err := usersByPrincipal(ctx, c, cluster)
	if err != nil {
		return err
	}
	var namespaces corev1.NamespaceList
	if err := c.List(ctx, &namespaces); err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	var admitted []string
	for _, ns := range namespaces.Items {
		ok, err := cluster.Admits(ns.Labels)
		if err != nil {
			return err
		}
		if ok {
			admitted = append(admitted, ns.Name)
		}
	}
	found := observe.Naming(graph.Uses(nil), admitted, func(name string) string {
		if u := users[name]; u != nil {
			return u.Namespace
		}
		return ""
	})
	if output == "json" {
		return writeList(out, found)
	}
	rows := make([][]string, len(found))
	for i, m := range found {
		rows[i] = []string{m.Type, m.Name, m.Owner, m.Why, fmt.Sprint(m.Count), ago(m.Last, now)}
	}
	return writeRows(out, []string{"TYPE", "NAME", "PROBABLE OWNER", "WHY", "TIMES", "LAST SEEN"}, rows)
}
