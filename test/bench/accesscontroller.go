// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// accessMode is the argument by which this command becomes a process with those of Signet's controllers that have to do
// with ACLs: the ledger, and the ACLs. In Signet's own process the others, which make the certificates of the same
// KafkaUsers, would be measured too.
const accessMode = "access-controllers"

// Paths of accessMode's HTTP server beside /metrics. A controller begins, with caches that hold everything, when its path is
// asked for, which is how the start of a pass is known.
const (
	readyPath  = "/ready"
	ledgerPath = "/ledger"
	accessPath = "/access"
)

// Files of accessMode's directory: the CA of Kafka and its clients, and Signet's own certificate and key.
const (
	caFile          = "ca.pem"
	certificateFile = "tls.crt"
	keyFile         = "tls.key"
)

// fileIdentity is Signet's identity towards Kafka, from files.
type fileIdentity struct {
	config *tls.Config
	ca     []byte
}

func readIdentity(dir string) (*fileIdentity, error) {
	ca, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, certificateFile), filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &fileIdentity{&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{certificate}}, ca}, nil
}

// TLSConfig implements access.AdminTLS.
func (i *fileIdentity) TLSConfig(context.Context, *v1alpha1.KafkaCluster) (*tls.Config, error) {
	return i.config.Clone(), nil
}

// writeIdentity writes what readIdentity reads.
func writeIdentity(dir string, ca []byte, identity tls.Certificate) error {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(identity.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, caFile), ca, 0o600),
		os.WriteFile(filepath.Join(dir, certificateFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: identity.Certificate[0]}), 0o600),
		os.WriteFile(filepath.Join(dir, keyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
}

// runAccessControllers is accessMode: its arguments are the address of the HTTP server and the directory of the identity.
func runAccessControllers(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s: want ADDRESS DIRECTORY", accessMode)
	}
	identity, err := readIdentity(args[1])
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS, config.Burst, config.DisableCompression = 2000, 4000, true // as Signet's own process
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	begin := map[string]chan struct{}{readyPath: make(chan struct{}), ledgerPath: make(chan struct{}, 1), accessPath: make(chan struct{}, 1)}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, HealthProbeBindAddress: "0",
		Metrics: metricsserver.Options{BindAddress: args[0], ExtraHandlers: map[string]http.Handler{
			readyPath: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				select {
				case <-begin[readyPath]:
				default:
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}),
			ledgerPath: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { begin[ledgerPath] <- struct{}{} }),
			accessPath: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { begin[accessPath] <- struct{}{} }),
		}},
	})
	if err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	for _, kind := range []client.Object{&v1alpha1.KafkaUser{}, &v1alpha1.KafkaCluster{}, &v1alpha1.PrincipalMapping{}, &v1alpha1.MeshIssuer{}, &corev1.Namespace{}, &corev1.ConfigMap{}} {
		if _, err := mgr.GetCache().GetInformer(ctx, kind); err != nil { // which waits for it
			return err
		}
	}
	close(begin[readyPath])
	for {
		select {
		case err := <-ended:
			return err
		case <-begin[ledgerPath]:
			err = startLedger(mgr, identity)
		case <-begin[accessPath]:
			err = startAccess(ctx, mgr, identity)
		}
		if err != nil {
			return err
		}
	}
}

type controller interface{ SetupWithManager(ctrl.Manager) error }

func startLedger(mgr ctrl.Manager, identity *fileIdentity) error {
	c := mgr.GetClient()
	trust := func(context.Context, *v1alpha1.KafkaCluster) ([]byte, error) { return identity.ca, nil }
	return setup(mgr,
		&principal.Users{Client: c, Now: time.Now},
		&principal.Clusters{Client: c, Live: mgr.GetAPIReader(), ClientTrust: trust, TrustReason: func(error) string { return "" }, Now: time.Now},
	)
}

func startAccess(ctx context.Context, mgr ctrl.Manager, identity access.AdminTLS) error {
	c, recorder := mgr.GetClient(), mgr.GetEventRecorder("signet-access")
	connections := access.NewConnections(identity, "bench")
	context.AfterFunc(ctx, connections.CloseAll)
	return setup(mgr,
		&access.ClusterController{Client: c, Connections: connections, Events: recorder, Period: 30 * time.Second, Now: time.Now},
		&access.UserController{Client: c, Connections: connections, Events: recorder, Period: 5 * time.Minute, Now: time.Now},
	)
}

func setup(mgr ctrl.Manager, controllers ...controller) error {
	for _, c := range controllers {
		if err := c.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("%T: %w", c, err)
		}
	}
	return nil
}

// startAccessControllers starts accessMode, with Signet's own identity in dir, and waits until its caches hold everything.
func (p *plane) startAccessControllers(ctx context.Context, dir string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	running, err := p.start(ctx, self, accessMode, address, dir)
	if err != nil {
		return nil, err
	}
	running.metrics = "http://" + address + "/metrics"
	err = running.until(ctx, "the caches hold everything", 50*time.Millisecond, 2*time.Minute, func() (bool, error) {
		code, err := running.ask(ctx, readyPath)
		return err == nil && code == http.StatusOK, nil // it may not listen yet; alive tells if it never will
	})
	if err != nil {
		return nil, errors.Join(err, running.stop())
	}
	return running, nil
}

// ask asks for a path beside the metrics and returns the status code.
func (r *process) ask(ctx context.Context, path string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.metrics[:len(r.metrics)-len("/metrics")]+path, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// begin has controllers begin.
func (r *process) begin(ctx context.Context, path string) error {
	code, err := r.ask(ctx, path)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%s: status %d", path, code)
	}
	return err
}
