// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

func newDiffCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var files resource.FilenameOptions
	var dir string
	cmd := &cobra.Command{
		Use:   "diff -f FILE",
		Short: "Show the ACLs that applying a KafkaUser would create and delete",
		Long: `Compares KafkaUsers in files with those in the cluster, and shows which ACLs and quotas an apply would create (+) and
delete (-). It also asks the API server whether it would take them (a dry run), and changes nothing. Manifests of other
kinds are passed over.

With --dir it compares with the ACLs and quotas that the Kafka itself has, by the credentials of a client that may describe
them: what a principal was given before Signet knew it, and would lose.

Exit code: 0 when nothing would change, 1 when something would, 2 when it could not be found out or would be refused.`,
		Example: "  kubectl signet diff -f user.yaml\n  kubectl signet diff -f users/ --dir ./admin",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, namespace, err := connect(config)
			if err != nil {
				return err
			}
			infos, err := resource.NewBuilder(config).Unstructured().NamespaceParam(namespace).DefaultNamespace().
				FilenameParam(false, &files).Flatten().Do().Infos()
			if err != nil {
				return explain(err)
			}
			var admin *access.Admin
			if dir != "" {
				kafka, err := dialKafka(dir)
				if err != nil {
					return err
				}
				defer kafka.Close()
				admin = access.NewAdmin(dir, kafka)
			}
			changes := false
			for _, info := range infos {
				object, ok := info.Object.(*unstructured.Unstructured)
				if !ok || object.GroupVersionKind() != v1alpha1.GroupVersion.WithKind("KafkaUser") {
					continue
				}
				var user v1alpha1.KafkaUser
				if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &user, true); err != nil {
					return fmt.Errorf("%s: %w", info.Source, err)
				}
				changed, err := diff(cmd.Context(), c, admin, &user, streams.Out)
				if err != nil {
					return fmt.Errorf("kafkauser %s: %w", client.ObjectKeyFromObject(&user), err)
				}
				changes = changes || changed
			}
			if changes {
				return errNotReady
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVarP(&files.Filenames, "filename", "f", nil, "file, directory or URL to read; - for standard input")
	cmd.Flags().StringVar(&dir, "dir", "", "directory with credentials of a client that may describe ACLs and quotas; default: compare with the KafkaUsers in the cluster")
	cmd.Flags().BoolVarP(&files.Recursive, "recursive", "R", false, "read directories recursively")
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

// diff shows what applying one KafkaUser would change, and tells whether that is anything: of what the admin finds in Kafka,
// or of what the KafkaUser declares now if there is no admin.
func diff(ctx context.Context, c client.Client, admin *access.Admin, declared *v1alpha1.KafkaUser, out io.Writer) (bool, error) {
	key := client.ObjectKeyFromObject(declared)
	before := &v1alpha1.KafkaUser{}
	if err := c.Get(ctx, key, before); apierrors.IsNotFound(err) {
		before = nil
	} else if err != nil {
		return false, err
	}
	after := declared.DeepCopy()
	var err error
	if before == nil {
		err = c.Create(ctx, after, client.DryRunAll)
	} else {
		after = before.DeepCopy()
		after.Spec = *declared.Spec.DeepCopy()
		err = c.Update(ctx, after, client.DryRunAll)
	}
	if err != nil {
		return false, err
	}
	ref := after.Spec.ClusterRef.In(after.Namespace)
	var cluster v1alpha1.KafkaCluster
	if err := get(ctx, c, "kafkacluster", client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &cluster); err != nil {
		return false, err
	}
	name, err := principal.ForUser(&cluster, after)
	if err != nil {
		return false, err
	}
	held := access.DeclaredBy(before, &cluster, access.Facts{})
	if admin != nil {
		if held, err = admin.Held(ctx, name); err != nil {
			return false, err
		}
	}
	preview := access.PreviewOf(held, access.DeclaredBy(after, &cluster, access.Facts{}))
	fmt.Fprintf(out, "KafkaUser %s: %s on KafkaCluster %s/%s\n", key, printable(name), ref.Namespace, ref.Name)
	writePreview(out, preview)
	return !preview.Empty(), nil
}

func writePreview(out io.Writer, p access.Preview) {
	if p.Empty() {
		fmt.Fprintln(out, "  no change")
		return
	}
	for _, b := range p.Create {
		fmt.Fprintf(out, "  + %s\n", aclText(b))
	}
	for _, b := range p.Delete {
		fmt.Fprintf(out, "  - %s\n", aclText(b))
	}
	if before, after := p.Before.String(), p.After.String(); before != after {
		fmt.Fprintf(out, "  quotas: %s -> %s\n", cmp.Or(before, "none"), cmp.Or(after, "none"))
	}
}

// aclText is a binding in the words of kafka-acls.sh, with a prefix as a KafkaUser writes it: "READ on topic shop-*". What
// Signet never writes, a DENY and a host, is said.
func aclText(b access.Binding) string {
	text := fmt.Sprintf("%s on %s %s", b.Operation, strings.ToLower(b.ResourceType.String()), printable(b.ResourceName))
	if b.PatternType == kmsg.ACLResourcePatternTypePrefixed {
		text += "*"
	}
	if b.Permission == kmsg.ACLPermissionTypeDeny {
		text = "DENY " + text
	}
	if b.Host != access.AnyHost {
		text += " from " + printable(b.Host)
	}
	return text
}
