package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	node := net.IPv4(10, 128, 0, 2)
	err := Write(Options{Dir: dir, Server: "https://10.128.0.2:6443", IPs: []net.IP{node}, NodeName: "node1", NodeIP: node, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	roots := func(file string) *x509.CertPool {
		t.Helper()
		pem, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			t.Fatalf("%s holds no certificate", file)
		}
		return pool
	}
	tests := []struct {
		file, ca, host string
		usage          x509.ExtKeyUsage
	}{
		{"apiserver", "ca.crt", "10.128.0.2", x509.ExtKeyUsageServerAuth},
		{"apiserver", "ca.crt", "kubernetes.default.svc", x509.ExtKeyUsageServerAuth},
		{"kubelet", "ca.crt", "10.128.0.2", x509.ExtKeyUsageServerAuth},
		{"etcd", "ca.crt", "127.0.0.1", x509.ExtKeyUsageServerAuth},
		{"etcd", "ca.crt", "", x509.ExtKeyUsageClientAuth},
		{"apiserver-kubelet-client", "ca.crt", "", x509.ExtKeyUsageClientAuth},
		{"front-proxy-client", "front-proxy-ca.crt", "", x509.ExtKeyUsageClientAuth},
	}
	for _, tt := range tests {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, tt.file+".crt"), filepath.Join(dir, tt.file+".key"))
		if err != nil {
			t.Errorf("%s: %v", tt.file, err)
			continue
		}
		for _, at := range []time.Time{now, now.Add(Lifetime - time.Minute)} {
			_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: tt.host, Roots: roots(tt.ca), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{tt.usage}})
			if err != nil {
				t.Errorf("%s for %q at %s: %v", tt.file, tt.host, at, err)
			}
		}
	}
	// The API server trusts extension requests of the front proxy's authority
	// only: a client certificate must not pass as one.
	client, err := tls.LoadX509KeyPair(filepath.Join(dir, "apiserver-kubelet-client.crt"), filepath.Join(dir, "apiserver-kubelet-client.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Leaf.Verify(x509.VerifyOptions{Roots: roots("front-proxy-ca.crt"), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("a client certificate passes as the front proxy's")
	}

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		secret := strings.HasSuffix(e.Name(), ".key") || strings.HasSuffix(e.Name(), ".kubeconfig")
		if secret && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
}
