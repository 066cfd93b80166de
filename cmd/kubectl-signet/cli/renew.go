// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func newRenewCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var dir, csr, keyFile string
	var timeout time.Duration
	var force bool
	cmd := &cobra.Command{
		Use:   "renew --dir DIR",
		Short: "Keep the files of kubectl signet sign --dir current; for a timer",
		Long: `Replaces key and certificate of a directory that kubectl signet sign --dir made, as soon as two thirds of the
certificate's life have passed, and up to a tenth more, which is fixed for each directory. ca.crt and the configuration
files are brought up to date on each run. Where there is nothing to do it says nothing. All files change at once; what
fails leaves them as they are, says why in one sentence, and ends with exit code 2.

It does what sign was told (signet.json in the directory), with the kubeconfig and the context that it had. With a
certificate request made elsewhere (sign --dir --csr) it reads the file named then, or by --csr.`,
		Example: "  kubectl signet renew --dir /var/lib/kafka-client/orders",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			dir, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			// Whoever has nothing to renew must not make a directory.
			if _, err := ReadSet(dir); err != nil {
				return err
			}
			release, err := claim(dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, release()) }()
			there, err := ReadSet(dir)
			if err != nil {
				return err
			}
			settings, err := ParseSettings(there[FileSettings])
			if err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			if settings, err = settings.override(csr, keyFile); err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			*config.KubeConfig = cmp.Or(*config.KubeConfig, settings.Kubeconfig)
			*config.Context = cmp.Or(*config.Context, settings.Context)
			c, _, err := connect(config)
			if err != nil {
				return err
			}
			r := renewal{certifier: newCertifier(c, timeout, streams), settings: settings, dir: dir, csr: cmp.Or(csr, settings.CSR), streams: streams, now: time.Now}
			return explain(r.run(cmd.Context(), there, force))
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory that kubectl signet sign made")
	cmd.Flags().StringVar(&csr, "csr", "", "file of the certificate request, where the key is elsewhere; - for the standard input; default: the one that sign was given")
	cmd.Flags().StringVar(&keyFile, "key-file", "", "file of the private key, where sign was given one; default: that one")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait for Signet")
	cmd.Flags().BoolVar(&force, "force", false, "renew now")
	if err := cmd.MarkFlagRequired("dir"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

// override returns the settings with another file for the key or the request. Whose key it is cannot change: a
// directory's files would come or go under the client.
func (s Settings) override(csr, keyFile string) (Settings, error) {
	switch {
	case csr != "" && !s.KeyElsewhere:
		return s, errors.New("--csr: its key is in the directory; make it anew with kubectl signet sign --dir --csr --force if the key is to be elsewhere")
	case keyFile != "" && s.KeyFile == "":
		return s, errors.New("--key-file: it was made without one; make it anew with kubectl signet sign --dir --key-file --force")
	}
	for _, file := range []struct {
		name string
		into *string
	}{{csr, &s.CSR}, {keyFile, &s.KeyFile}} {
		if file.name == "" || file.name == "-" {
			continue
		}
		absolute, err := filepath.Abs(file.name)
		if err != nil {
			return s, err
		}
		*file.into = absolute
	}
	return s, nil
}

// renewal brings the files of one directory up to date.
type renewal struct {
	certifier
	settings Settings
	// dir is absolute.
	dir string
	// csr is where to read the certificate request, where the key is elsewhere.
	csr     string
	streams genericiooptions.IOStreams
	now     func() time.Time
}

// renewed is what a renewal came to.
type renewed struct {
	files    []File
	leaf     *x509.Certificate
	user     *v1alpha1.KafkaUser
	listener v1alpha1.Listener
	// why the certificate is a new one; "" where it is not.
	why      string
	warnings []string
	// failed is why there is no new certificate although one is due; the files have the old one.
	failed error
}

// summary is one line for people.
func (r renewed) summary(now time.Time) string {
	return fmt.Sprintf("%s at listener %s (%s), valid for %s, until %s", printable(r.user.Status.Principal), r.listener.Name,
		printable(r.listener.BootstrapServers[0]), duration.HumanDuration(r.leaf.NotAfter.Sub(now)), r.leaf.NotAfter.UTC().Format(time.RFC3339))
}

// run writes what changed of the files that are there, and says what it did.
func (r renewal) run(ctx context.Context, there map[string][]byte, force bool) error {
	done, err := r.files(ctx, there, force)
	if err != nil {
		return err
	}
	if names := Changed(there, done.files); len(names) > 0 {
		if err := Publish(r.dir, done.files); err != nil {
			return errors.Join(done.failed, fmt.Errorf("write credentials: %w", err))
		}
		if done.why != "" && done.failed == nil {
			fmt.Fprintf(r.streams.Out, "%s renewed: %s\n", r.dir, done.summary(r.now()))
		} else {
			fmt.Fprintf(r.streams.Out, "%s refreshed: %s\n", r.dir, strings.Join(names, ", "))
		}
	}
	return done.failed
}

// files returns the complete set as it should be. What is there of it goes on where no new certificate is due, and where
// none can be had: the certificates to trust are brought up to date even then, for brokers may be about to change theirs.
func (r renewal) files(ctx context.Context, there map[string][]byte, force bool) (renewed, error) {
	d, err := declare(ctx, r.client, client.ObjectKey{Namespace: r.settings.Namespace, Name: r.settings.User})
	if err != nil {
		return renewed{}, err
	}
	listener, err := SelectListener(d.cluster, r.settings.Listener)
	if err != nil {
		return renewed{}, err
	}
	// The user's trust bundle comes first: who may have a certificate signed need not be able to read the Secret behind
	// serverCA, and Signet keeps the bundle current.
	sources := TrustSources(d.cluster, listener)
	slices.SortStableFunc(sources, func(a, b TrustSource) int { return cmp.Compare(bundleFirst(a), bundleFirst(b)) })
	trust, note, err := readTrust(ctx, r.client, sources, d.user, d.cluster, listener, func() ([]byte, string, error) {
		return issuerRoots(ctx, r.client, d.user.Issuer(d.cluster).Name)
	})
	if err != nil {
		return renewed{}, err
	}
	credentials := Credentials{
		User: d.user, Cluster: d.cluster, Listener: listener, Trust: trust,
		Chain: there[v1alpha1.FileCertificate], Key: there[v1alpha1.FileKey], KeyElsewhere: r.settings.KeyElsewhere,
		Source: r.dir, Dir: cmp.Or(r.settings.Path, r.dir), Now: r.now(),
	}
	done := renewed{user: d.user, listener: listener, warnings: notYetInForce(d.user)}
	if note != "" {
		done.warnings = append(done.warnings, note)
	}
	if done.why = r.due(credentials, d, force); done.why != "" {
		chain, key, err := r.certificate(ctx, d)
		if err == nil {
			credentials.Chain, credentials.Key, credentials.Now = chain, key, r.now()
		}
		done.failed = err
	}
	if done.files, done.leaf, err = credentials.Files(); err != nil {
		if done.failed != nil {
			err = done.failed
		}
		return renewed{}, err
	}
	settings, err := r.settings.File()
	done.files = append(done.files, settings)
	return done, err
}

func bundleFirst(s TrustSource) int {
	if s == TrustBundle {
		return 0
	}
	return 1
}

// due says why there has to be a new certificate.
func (r renewal) due(c Credentials, d declared, force bool) string {
	if force {
		return "--force"
	}
	if _, err := tls.X509KeyPair(c.Chain, c.Key); err != nil && !c.KeyElsewhere {
		return "key and certificate do not belong together"
	}
	return Due(c.Chain, d.id.Subject.String(), r.settings.RenewAt, c.Now)
}

// certificate has a new certificate signed, for the key of the directory's kind. There is no key where it is elsewhere.
func (r renewal) certificate(ctx context.Context, d declared) (chain, key []byte, err error) {
	lifetime := r.settings.Duration.Duration
	switch {
	case r.settings.KeyElsewhere:
		if r.csr == "" {
			return nil, nil, errors.New("the certificate is to be renewed, and its key is elsewhere: name the certificate request with --csr")
		}
		text, err := readInput(r.csr, r.streams)
		if err != nil {
			return nil, nil, err
		}
		_, chain, err = r.request(ctx, d, text, r.csr, lifetime)
		return chain, nil, err
	case r.settings.KeyFile != "":
		text, err := readFile(r.settings.KeyFile)
		if err != nil {
			return nil, nil, err
		}
		private, err := ReadKey(text)
		if err != nil {
			return nil, nil, fmt.Errorf("--key-file %s: %w", r.settings.KeyFile, err)
		}
		return r.certifyKey(ctx, d, private, lifetime)
	default:
		return r.fresh(ctx, d, lifetime)
	}
}
