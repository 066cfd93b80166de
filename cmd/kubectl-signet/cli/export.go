// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func newExportCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var dir, seenAs, listener string
	var force bool
	cmd := &cobra.Command{
		Use:   "export USER -o DIR",
		Short: "Write the credentials of a KafkaUser for a client outside Kubernetes",
		Long: `Writes tls.crt, tls.key, ca.crt, keystore.pem, client.properties (Java), librdkafka.conf (kcat -F) and
kafka.json of a KafkaUser into a directory. The principal is the same as that of its pods. You need the right to read
the KafkaUser, its KafkaCluster and the Secret <user>-kafka-tls.

The key is the one that the user's pods have, and nobody renews the exported certificate: export again, with --force,
before it expires. A client that can reach the API server is better off with kubectl signet sign, by which it has a key
of its own that kubectl signet renew keeps current.`,
		Example: "  kubectl signet export orders -n shop -o ./orders\n  kcat -F ./orders/librdkafka.conf -L",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			absolute, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			c, namespace, err := connect(config)
			if err != nil {
				return err
			}
			now := time.Now()
			credentials, warnings, err := fetch(cmd.Context(), c, client.ObjectKey{Namespace: namespace, Name: args[0]}, listener)
			if err != nil {
				return explain(err)
			}
			credentials.Dir, credentials.Now = cmp.Or(seenAs, absolute), now
			files, leaf, err := credentials.Files()
			if err != nil {
				return err
			}
			if err := WriteFiles(absolute, files, force); err != nil {
				return fmt.Errorf("write credentials: %w", err)
			}
			for _, warning := range warnings {
				fmt.Fprintf(streams.ErrOut, "warning: %s\n", printable(warning))
			}
			for _, f := range files {
				fmt.Fprintln(streams.Out, filepath.Join(absolute, f.Name))
			}
			fmt.Fprintf(streams.ErrOut, "%s at listener %s (%s), valid for %s, until %s\n",
				printable(credentials.User.Status.Principal), credentials.Listener.Name, printable(credentials.Listener.BootstrapServers[0]),
				duration.HumanDuration(leaf.NotAfter.Sub(now)), leaf.NotAfter.UTC().Format(time.RFC3339))
			return nil
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "directory to write to; made if it does not exist")
	cmd.Flags().StringVar(&seenAs, "path", "", "the directory as the client will see it, where that is another machine's or a container's; default: that of -o")
	cmd.Flags().StringVar(&listener, "listener", "", "name of the KafkaCluster's listener; default: the one with scope External")
	cmd.Flags().BoolVar(&force, "force", false, "replace files that exist")
	if err := cmd.MarkFlagRequired("output"); err != nil {
		panic(err) // the flag is defined four lines above
	}
	return cmd
}

// fetch reads what a KafkaUser's credentials are made from, with the caller's rights.
func fetch(ctx context.Context, c client.Reader, key client.ObjectKey, listener string) (Credentials, []string, error) {
	var user v1alpha1.KafkaUser
	if err := get(ctx, c, "kafkauser", key, &user); err != nil {
		return Credentials{}, nil, err
	}
	warnings, err := CheckExportable(&user)
	if err != nil {
		return Credentials{}, nil, err
	}
	ref := user.Spec.ClusterRef.In(user.Namespace)
	var cluster v1alpha1.KafkaCluster
	if err := get(ctx, c, "kafkacluster", client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &cluster); err != nil {
		return Credentials{}, nil, err
	}
	selected, err := SelectListener(&cluster, listener)
	if err != nil {
		return Credentials{}, nil, err
	}
	var secret corev1.Secret
	if err := get(ctx, c, "secret", client.ObjectKey{Namespace: key.Namespace, Name: v1alpha1.CertificateName(key.Name)}, &secret); err != nil {
		return Credentials{}, nil, err
	}
	trust, note, err := readTrust(ctx, c, TrustSources(&cluster, selected), &user, &cluster, selected, func() ([]byte, string, error) {
		return secret.Data[v1alpha1.FileCA], fmt.Sprintf("secret %s/%s", secret.Namespace, secret.Name), nil
	})
	if err != nil {
		return Credentials{}, nil, err
	}
	if note != "" {
		warnings = append(warnings, note)
	}
	return Credentials{
		User: &user, Cluster: &cluster, Listener: selected,
		Chain: secret.Data[v1alpha1.FileCertificate], Key: secret.Data[v1alpha1.FileKey], Trust: trust,
	}, warnings, nil
}

// readTrust reads from the first source that the caller may read, and says so where that is not the very first. issuer
// reads TrustIssuer.
func readTrust(ctx context.Context, c client.Reader, sources []TrustSource, user *v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, listener v1alpha1.Listener, issuer func() ([]byte, string, error)) (trust []byte, note string, err error) {
	var failed error
	for _, source := range sources {
		var where string
		var err error
		trust, where = nil, ""
		switch source {
		case TrustServerCA:
			trust, where, err = readServerCA(ctx, c, cluster.Namespace, *listener.ServerCA)
		case TrustBundle:
			key := client.ObjectKey{Namespace: user.Namespace, Name: v1alpha1.TrustBundleName(user.Name)}
			var bundle corev1.ConfigMap
			err = get(ctx, c, "configmap", key, &bundle)
			trust, where = []byte(bundle.Data[bundleKey(cluster, listener)]), fmt.Sprintf("configmap %s", key)
		case TrustIssuer:
			trust, where, err = issuer()
		}
		if err == nil && len(trust) == 0 {
			err = fmt.Errorf("%s has no certificates to trust", where)
		}
		if err == nil {
			if failed != nil {
				note = fmt.Sprintf("%s is taken from %s, which holds the same: %s", v1alpha1.FileCA, where, firstLine(failed))
			}
			return trust, note, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, "", failed
}

func readServerCA(ctx context.Context, c client.Reader, namespace string, ref v1alpha1.KeyReference) ([]byte, string, error) {
	field := cmp.Or(ref.Key, v1alpha1.FileCA)
	if ref.ConfigMap != "" {
		key := client.ObjectKey{Namespace: namespace, Name: ref.ConfigMap}
		var configMap corev1.ConfigMap
		err := get(ctx, c, "configmap", key, &configMap)
		return []byte(configMap.Data[field]), fmt.Sprintf("configmap %s, key %s,", key, field), err
	}
	key := client.ObjectKey{Namespace: namespace, Name: ref.Secret}
	var secret corev1.Secret
	err := get(ctx, c, "secret", key, &secret)
	return secret.Data[field], fmt.Sprintf("secret %s, key %s,", key, field), err
}

// DeniedError is an object that the caller may not read.
type DeniedError struct {
	// Resource is the kind in lower case; Key names the object.
	Resource string
	Key      client.ObjectKey
	// Err is the API server's answer.
	Err error
}

// Error names what to ask for.
func (e *DeniedError) Error() string {
	resource := e.Resource + "s"
	if e.Resource == "kafkauser" || e.Resource == "kafkacluster" {
		resource += "." + v1alpha1.GroupVersion.Group
	}
	return fmt.Sprintf("you may not read %s %s; ask an administrator for it:\n  kubectl create role read-%s -n %s --verb=get --resource=%s --resource-name=%s\n  kubectl create rolebinding read-%s -n %s --role=read-%s --user=YOU",
		e.Resource, e.Key, e.Key.Name, e.Key.Namespace, resource, e.Key.Name, e.Key.Name, e.Key.Namespace, e.Key.Name)
}

// Unwrap returns the API server's answer.
func (e *DeniedError) Unwrap() error { return e.Err }

func get(ctx context.Context, c client.Reader, resource string, key client.ObjectKey, into client.Object) error {
	err := c.Get(ctx, key, into)
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		return &DeniedError{Resource: resource, Key: key, Err: err}
	case apierrors.IsNotFound(err) && resource == "kafkauser":
		return fmt.Errorf("kafkauser %s does not exist; see kubectl get kafkausers -n %s", key, key.Namespace)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s %s does not exist", resource, key)
	default:
		return fmt.Errorf("read %s %s: %w", resource, key, err)
	}
}

// firstLine is an error without the advice below it.
func firstLine(err error) string {
	var denied *DeniedError
	if errors.As(err, &denied) {
		return fmt.Sprintf("you may not read %s %s", denied.Resource, denied.Key)
	}
	return err.Error()
}
