// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/principal"
)

// signFlags are the flags of sign.
type signFlags struct {
	dir, csr, output, listener, path, keyFile string
	lifetime, timeout                         time.Duration
	force                                     bool
}

func newSignCommand(config *genericclioptions.ConfigFlags, streams genericiooptions.IOStreams) *cobra.Command {
	var flags signFlags
	cmd := &cobra.Command{
		Use:   "sign USER (--csr FILE | --dir DIR)",
		Short: "Have a certificate signed for a client outside Kubernetes, whose key stays there",
		Long: `Asks Signet for a certificate of a KafkaUser by a CertificateSigningRequest. The private key is never sent: with --csr
it is wherever the certificate request was made; with --dir it is made here, in that directory.

--csr prints the certificate and its intermediates (PEM), or writes them to the file named by -o.

--dir writes the same files as export: tls.crt, tls.key, ca.crt, keystore.pem, client.properties (Java), librdkafka.conf
(kcat -F) and kafka.json; and signet.json, by which kubectl signet renew keeps them current. All of them change at once.
With --key-file the key is yours and a copy of it goes into the files; with --csr as well, the directory has tls.crt and
ca.crt only, for a key in an HSM.

You need the right to create and get certificatesigningrequests, to get the KafkaUser, its KafkaCluster and the ConfigMap
<user>-kafka-trust, and the verb sign on kafkausers.kafka.signet.dev/<user>: see docs/external.md.`,
		Example: "  kubectl signet sign orders -n shop --dir ./orders\n  kubectl signet sign orders -n shop --csr orders.csr -o orders.crt",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			c, namespace, err := connect(config)
			if err != nil {
				return err
			}
			key := client.ObjectKey{Namespace: namespace, Name: args[0]}
			if flags.dir == "" {
				return explain(signRequest(cmd.Context(), c, key, flags, streams))
			}
			kubeContext, err := currentContext(config)
			if err != nil {
				return err
			}
			settings, err := flags.settings(key, *config.KubeConfig, kubeContext)
			if err != nil {
				return err
			}
			return explain(signDirectory(cmd.Context(), c, settings, flags, streams))
		},
	}
	cmd.Flags().StringVar(&flags.csr, "csr", "", "file of a certificate request (PKCS#10, PEM); - for the standard input")
	cmd.Flags().StringVarP(&flags.output, "output", "o", "", "file to write the certificate to, with --csr; default: the standard output")
	cmd.Flags().StringVar(&flags.dir, "dir", "", "directory to write a client's files to; made if it does not exist")
	cmd.Flags().StringVar(&flags.keyFile, "key-file", "", "with --dir: file of the private key to use (PEM); default: a new one, ECDSA P-256")
	cmd.Flags().StringVar(&flags.path, "path", "", "with --dir: the directory as the client will see it, where that is another machine's or a container's")
	cmd.Flags().StringVar(&flags.listener, "listener", "", "with --dir: name of the KafkaCluster's listener; default: the one with scope External")
	cmd.Flags().DurationVar(&flags.lifetime, "duration", 0, "lifetime of the certificate; default: the KafkaUser's. The MeshIssuer's maxDuration is the limit")
	cmd.Flags().DurationVar(&flags.timeout, "timeout", time.Minute, "how long to wait for Signet")
	cmd.Flags().BoolVar(&flags.force, "force", false, "replace files that exist")
	return cmd
}

func (f signFlags) check() error {
	switch {
	case f.dir == "" && f.csr == "":
		return errors.New("say with --csr FILE which certificate request to have signed, or with --dir DIR where to make a key")
	case f.dir != "" && f.output != "":
		return errors.New("-o has no meaning with --dir")
	case f.dir == "" && (f.keyFile != "" || f.path != "" || f.listener != ""):
		return errors.New("--key-file, --path and --listener need --dir")
	case f.csr != "" && f.keyFile != "":
		return errors.New("choose one of --csr and --key-file")
	}
	return CheckDuration(f.lifetime)
}

// settings are what renew has to know of a call of sign --dir.
func (f signFlags) settings(key client.ObjectKey, kubeconfig, kubeContext string) (Settings, error) {
	s := Settings{
		User: key.Name, Namespace: key.Namespace, Context: kubeContext, Listener: f.listener, Path: f.path,
		Duration: metav1.Duration{Duration: f.lifetime}, KeyElsewhere: f.csr != "",
		RenewAt: NewRenewAt(mathrand.Float64()),
	}
	for _, file := range []struct {
		name string
		into *string
	}{{kubeconfig, &s.Kubeconfig}, {f.keyFile, &s.KeyFile}, {f.csr, &s.CSR}} {
		if file.name == "" || file.name == "-" {
			continue
		}
		absolute, err := filepath.Abs(file.name)
		if err != nil {
			return Settings{}, err
		}
		*file.into = absolute
	}
	return s, nil
}

// currentContext is the name of the kubeconfig's context in use; none in a pod.
func currentContext(config *genericclioptions.ConfigFlags) (string, error) {
	if *config.Context != "" {
		return *config.Context, nil
	}
	raw, err := config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return "", fmt.Errorf("read kubeconfig: %w", err)
	}
	return raw.CurrentContext, nil
}

// signRequest has one certificate request signed and writes the certificate.
func signRequest(ctx context.Context, c client.Client, key client.ObjectKey, flags signFlags, streams genericiooptions.IOStreams) error {
	if flags.output != "" && !flags.force {
		switch _, err := os.Lstat(flags.output); {
		case err == nil:
			return fmt.Errorf("%s exists; replace it with --force", flags.output)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	d, err := declare(ctx, c, key)
	if err != nil {
		return err
	}
	text, err := readInput(flags.csr, streams)
	if err != nil {
		return err
	}
	leaf, chain, err := newCertifier(c, flags.timeout, streams).request(ctx, d, text, flags.csr, flags.lifetime)
	if err != nil {
		return err
	}
	warn(streams, notYetInForce(d.user))
	if flags.output == "" {
		_, err = streams.Out.Write(chain)
	} else {
		err = replaceFile(flags.output, chain)
	}
	if err != nil {
		return fmt.Errorf("write the certificate: %w", err)
	}
	now := time.Now()
	fmt.Fprintf(streams.ErrOut, "%s, valid for %s, until %s\n", printable(d.user.Status.Principal), duration.HumanDuration(leaf.NotAfter.Sub(now)), leaf.NotAfter.UTC().Format(time.RFC3339))
	return nil
}

// replaceFile writes a file by a rename.
func replaceFile(name string, data []byte) (err error) {
	staging, err := os.MkdirTemp(filepath.Dir(name), ".signet-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	temporary := filepath.Join(staging, "new")
	if err := writeOne(temporary, File{Mode: 0o644, Data: data}); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}

// signDirectory makes a directory with a client's files.
func signDirectory(ctx context.Context, c client.Client, settings Settings, flags signFlags, streams genericiooptions.IOStreams) (err error) {
	dir, err := filepath.Abs(flags.dir)
	if err != nil {
		return err
	}
	release, err := claim(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := checkVacant(dir, setFiles(), flags.force); err != nil {
		if _, e := ReadSet(dir); e == nil {
			err = fmt.Errorf("%w, or keep it current with kubectl signet renew --dir %s", err, dir)
		}
		return err
	}
	r := renewal{certifier: newCertifier(c, flags.timeout, streams), settings: settings, dir: dir, csr: flags.csr, streams: streams, now: time.Now}
	done, err := r.files(ctx, nil, true)
	if err != nil {
		return err
	}
	if err := Publish(dir, done.files); err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	warn(streams, done.warnings)
	for _, f := range done.files {
		fmt.Fprintln(streams.Out, filepath.Join(dir, f.Name))
	}
	fmt.Fprintf(streams.ErrOut, "%s\n", done.summary(time.Now()))
	return nil
}

// setFiles are the names that a set may have, for checkVacant.
func setFiles() []File {
	var files []File
	for _, name := range []string{
		v1alpha1.FileCertificate, v1alpha1.FileKey, v1alpha1.FileCA, v1alpha1.FileKeystore,
		v1alpha1.FileJavaProperties, v1alpha1.FileLibrdkafka, v1alpha1.FileJSON, FileSettings,
	} {
		files = append(files, File{Name: name})
	}
	return files
}

// readInput reads a file, or the standard input for -.
func readInput(name string, streams genericiooptions.IOStreams) ([]byte, error) {
	if name != "-" {
		return readFile(name)
	}
	text, err := readAll(streams.In)
	if err != nil {
		return nil, fmt.Errorf("read the standard input: %w", err)
	}
	return text, nil
}

func warn(streams genericiooptions.IOStreams, warnings []string) {
	for _, warning := range warnings {
		fmt.Fprintf(streams.ErrOut, "warning: %s\n", printable(warning))
	}
}

// declared is what a KafkaUser's certificate is made from.
type declared struct {
	user    *v1alpha1.KafkaUser
	cluster *v1alpha1.KafkaCluster
	// issuer signs; unsignable says why nobody does.
	issuer     string
	unsignable error
	id         Identity
}

// declare reads it, with the caller's rights.
func declare(ctx context.Context, c client.Reader, key client.ObjectKey) (declared, error) {
	d := declared{user: &v1alpha1.KafkaUser{}, cluster: &v1alpha1.KafkaCluster{}}
	if err := get(ctx, c, "kafkauser", key, d.user); err != nil {
		return d, err
	}
	ref := d.user.Spec.ClusterRef.In(d.user.Namespace)
	if err := get(ctx, c, "kafkacluster", client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, d.cluster); err != nil {
		return d, err
	}
	d.id.Subject = principal.SubjectOf(d.cluster, d.user.Namespace, d.user.Name)
	if d.issuer, d.unsignable = CheckSignable(d.user, d.cluster); d.unsignable != nil {
		return d, nil //nolint:nilerr // that is an answer, which the caller gives in its own time
	}
	var issuer v1alpha1.MeshIssuer
	err := c.Get(ctx, client.ObjectKey{Name: d.issuer}, &issuer)
	switch {
	case apierrors.IsForbidden(err):
		return d, nil
	case apierrors.IsNotFound(err):
		d.unsignable = fmt.Errorf("meshissuer %s, which is to sign for kafkauser %s, does not exist", d.issuer, key)
		return d, nil
	case err != nil:
		return d, fmt.Errorf("read meshissuer %s: %w", d.issuer, err)
	}
	id, err := principal.UserSPIFFEID(certs.TrustDomain(&issuer), key.Namespace, key.Name)
	if err != nil {
		return d, fmt.Errorf("meshissuer %s: %w", d.issuer, err)
	}
	d.id.URI = id.URL()
	return d, nil
}

// certifier gets certificates by CertificateSigningRequests.
type certifier struct {
	client client.Client
	// timeout bounds the wait for a certificate; interval is the first pause between two looks, and doubles up to maxPause.
	timeout, interval time.Duration
	// say tells the caller what is waited for, once.
	say func(string)
}

const maxPause = 2 * time.Second

func newCertifier(c client.Client, timeout time.Duration, streams genericiooptions.IOStreams) certifier {
	return certifier{client: c, timeout: timeout, interval: 100 * time.Millisecond, say: func(text string) { fmt.Fprintln(streams.ErrOut, printable(text)) }}
}

// fresh makes a key (ECDSA P-256, which every Kafka client loads) and returns a certificate for it.
func (s certifier) fresh(ctx context.Context, d declared, lifetime time.Duration) (chain, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	return s.certifyKey(ctx, d, private, lifetime)
}

// certifyKey returns a certificate for a key, and the key as PEM.
func (s certifier) certifyKey(ctx context.Context, d declared, private crypto.Signer, lifetime time.Duration) (chain, key []byte, err error) {
	request, err := NewCertificateRequest(private, d.id)
	if err != nil {
		return nil, nil, err
	}
	if _, chain, err = s.certify(ctx, d, request, private.Public(), lifetime); err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(private)
	return chain, key, err
}

// request returns a certificate for a certificate request that somebody else made; source names it.
func (s certifier) request(ctx context.Context, d declared, text []byte, source string, lifetime time.Duration) (leaf *x509.Certificate, chain []byte, err error) {
	csr, request, err := ReadCertificateRequest(text, d.id)
	if err != nil {
		return nil, nil, fmt.Errorf("--csr %s: %w", source, err)
	}
	return s.certify(ctx, d, request, csr.PublicKey, lifetime)
}

// certify asks, waits and checks what came back.
func (s certifier) certify(ctx context.Context, d declared, request []byte, key crypto.PublicKey, lifetime time.Duration) (*x509.Certificate, []byte, error) {
	if d.unsignable != nil {
		return nil, nil, d.unsignable
	}
	csr := SigningRequest(d.user, d.issuer, request, lifetime)
	if err := s.client.Create(ctx, csr); err != nil {
		return nil, nil, requestError("create", err)
	}
	chain, err := s.await(ctx, csr, d)
	if err != nil {
		return nil, nil, err
	}
	leaf, chain, err := CheckIssued(chain, key, d.id)
	if err != nil {
		return nil, nil, fmt.Errorf("certificatesigningrequest %s: %w", csr.Name, err)
	}
	return leaf, chain, nil
}

// await looks at a CertificateSigningRequest until it has an answer. It does not watch: the right to watch would be the
// right to see everybody's.
func (s certifier) await(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, d declared) ([]byte, error) {
	within, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	said := false
	for pause := s.interval; ; pause = min(2*pause, maxPause) {
		chain, err := Outcome(csr)
		if err != nil || chain != nil {
			return chain, err
		}
		if pause >= maxPause && !said {
			said = true
			s.say(fmt.Sprintf("waiting for Signet to sign certificatesigningrequest %s, up to %s: %s", csr.Name, s.timeout, s.awaited(ctx, csr, d)))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-within.Done():
			timer.Stop()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("interrupted while waiting for certificatesigningrequest %s", csr.Name)
			}
			return nil, fmt.Errorf("certificatesigningrequest %s was not signed within %s: %s", csr.Name, s.timeout, s.awaited(ctx, csr, d))
		}
		// An API server that is away for a moment is no reason to give up; the timeout is.
		if err := s.client.Get(within, client.ObjectKey{Name: csr.Name}, csr); apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			return nil, requestError("get", err)
		}
	}
}

// awaited looks at the KafkaUser once more, whose conditions may tell.
func (s certifier) awaited(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, d declared) string {
	user := &v1alpha1.KafkaUser{}
	ctx, cancel := context.WithTimeout(ctx, maxPause)
	defer cancel()
	if err := s.client.Get(ctx, client.ObjectKeyFromObject(d.user), user); err != nil {
		user = nil
	}
	return Awaited(csr, user, d.issuer)
}

// requestError says what to ask for, where the right to have certificates signed is missing.
func requestError(verb string, err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("you may not %s certificatesigningrequests; ask an administrator for it:\n  kubectl create clusterrolebinding signet-external-client-YOU --clusterrole=signet-external-client --user=YOU", verb)
	}
	return fmt.Errorf("%s certificatesigningrequest: %w", verb, err)
}

// issuerRoots reads the roots of a MeshIssuer from its ClusterTrustBundle.
func issuerRoots(ctx context.Context, c client.Reader, issuer string) ([]byte, string, error) {
	name := v1alpha1.TrustBundleObject(issuer)
	var bundle certificatesv1.ClusterTrustBundle
	err := c.Get(ctx, client.ObjectKey{Name: name}, &bundle)
	switch {
	case err == nil:
	case meta.IsNoMatchError(err):
		err = fmt.Errorf("this API server has no ClusterTrustBundles, which hold the roots of meshissuer %s (Kubernetes 1.37): set serverCA on the KafkaCluster's listener", issuer)
	case apierrors.IsForbidden(err):
		err = fmt.Errorf("you may not read clustertrustbundle %s; ask an administrator to bind you to the cluster role system:cluster-trust-bundle-discovery", name)
	case apierrors.IsNotFound(err):
		err = fmt.Errorf("clustertrustbundle %s does not exist; see kubectl describe meshissuer %s", name, issuer)
	default:
		err = fmt.Errorf("read clustertrustbundle %s: %w", name, err)
	}
	return []byte(bundle.Spec.TrustBundle), "clustertrustbundle " + name, err
}
