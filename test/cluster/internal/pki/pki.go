package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Lifetime of everything made here.
const Lifetime = 7 * 24 * time.Hour

// skew lets a client whose clock runs a little behind accept a new certificate.
const skew = 5 * time.Minute

// Options name the cluster's servers.
type Options struct {
	// Dir receives the files, with mode 0600 for keys.
	Dir string
	// Server is the API server's URL, for kubeconfigs.
	Server string
	// IPs are the API server's addresses besides 127.0.0.1.
	IPs []net.IP
	// NodeName and NodeIP are the node's, empty when there is none.
	NodeName string
	NodeIP   net.IP
	// Now is when the certificates become valid.
	Now time.Time
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  time.Time
}

// Write makes everything and stores it as
//
//	ca.{crt,key}                  signs clients, servers and approved CSRs
//	front-proxy-ca.crt            signs front-proxy-client
//	front-proxy-client.{crt,key}  API server → extension API server
//	apiserver.{crt,key}           the API server's serving certificate
//	apiserver-kubelet-client.…    API server → kubelet
//	etcd.{crt,key}                etcd, as server, peer and only client
//	kubelet.{crt,key}             the kubelet's serving certificate
//	sa.{key,pub}                  service account tokens
//	{admin,controller-manager,scheduler,kube-proxy,kubelet}.kubeconfig
func Write(o Options) error {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	ca, err := newAuthority("kubernetes", o.Now)
	if err != nil {
		return err
	}
	if err := ca.store(o.Dir, "ca"); err != nil {
		return err
	}
	frontProxy, err := newAuthority("kubernetes-front-proxy", o.Now)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(o.Dir, "front-proxy-ca.crt"), "CERTIFICATE", frontProxy.cert.Raw, 0o644); err != nil {
		return err
	}
	loopback := net.IPv4(127, 0, 0, 1)
	pairs := []struct {
		by   *authority
		file string
		leaf leaf
	}{
		{frontProxy, "front-proxy-client", leaf{name: "front-proxy-client"}},
		{ca, "apiserver-kubelet-client", leaf{name: KubeletClient}},
		{ca, "etcd", leaf{name: "etcd", ips: []net.IP{loopback}, dns: []string{"localhost"}}},
		{ca, "apiserver", leaf{name: "kube-apiserver", ips: append([]net.IP{loopback}, o.IPs...), dns: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}}},
	}
	if o.NodeName != "" {
		pairs = append(pairs, struct {
			by   *authority
			file string
			leaf leaf
		}{ca, "kubelet", leaf{name: o.NodeName, ips: []net.IP{loopback, o.NodeIP}, dns: []string{o.NodeName}}})
	}
	for _, p := range pairs {
		cert, key, err := p.by.issue(p.leaf)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(o.Dir, p.file+".crt"), cert, 0o644); err != nil {
			return fmt.Errorf("pki: %w", err)
		}
		if err := os.WriteFile(filepath.Join(o.Dir, p.file+".key"), key, 0o600); err != nil {
			return fmt.Errorf("pki: %w", err)
		}
	}
	users := map[string]leaf{
		"admin":              {name: "kubernetes-admin", groups: []string{"system:masters"}},
		"controller-manager": {name: "system:kube-controller-manager"},
		"scheduler":          {name: "system:kube-scheduler"},
	}
	if o.NodeName != "" {
		users["kube-proxy"] = leaf{name: "system:kube-proxy"}
		users["kubelet"] = leaf{name: "system:node:" + o.NodeName, groups: []string{"system:nodes"}}
	}
	for name, l := range users {
		cert, key, err := ca.issue(l)
		if err != nil {
			return err
		}
		file := filepath.Join(o.Dir, name+".kubeconfig")
		if err := os.WriteFile(file, kubeconfig(o.Server, ca.pem(), cert, key), 0o600); err != nil {
			return fmt.Errorf("pki: %w", err)
		}
	}
	return writeServiceAccountKey(o.Dir)
}

// KubeletClient is the user as which the API server asks the kubelet for logs
// and sessions; it needs the ClusterRole system:kubelet-api-admin.
const KubeletClient = "kube-apiserver-kubelet-client"

func newAuthority(name string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pki: %s: %w", name, err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(Lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	cert, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("pki: %s: %w", name, err)
	}
	return &authority{cert: cert, key: key, now: now}, nil
}

// leaf describes a client or server certificate; either serves as both.
type leaf struct {
	name   string
	groups []string
	ips    []net.IP
	dns    []string
}

// issue returns a certificate and its key in PEM.
func (a *authority) issue(l leaf) (cert, key []byte, err error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("pki: %s: %w", l.name, err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: l.name, Organization: l.groups},
		NotBefore:   a.now.Add(-skew),
		NotAfter:    a.cert.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: l.ips,
		DNSNames:    l.dns,
	}
	if len(l.ips) == 0 && len(l.dns) == 0 {
		template.ExtKeyUsage = template.ExtKeyUsage[:1]
	}
	signed, err := sign(template, a.cert, &priv.PublicKey, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("pki: %s: %w", l.name, err)
	}
	key, err = keyPEM(priv)
	if err != nil {
		return nil, nil, fmt.Errorf("pki: %s: %w", l.name, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed.Raw}), key, nil
}

func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) store(dir, name string) error {
	key, err := keyPEM(a.key)
	if err != nil {
		return fmt.Errorf("pki: %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".key"), key, 0o600); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	return writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", a.cert.Raw, 0o644)
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func writePEM(file, kind string, der []byte, mode os.FileMode) error {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	return nil
}

// writeServiceAccountKey makes an RSA pair: the API server publishes its public
// half as JWKS, and RS256 is what every verifier of such tokens supports.
func writeServiceAccountKey(dir string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("pki: service account key: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("pki: service account key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("pki: service account key: %w", err)
	}
	if err := writePEM(filepath.Join(dir, "sa.key"), "PRIVATE KEY", private, 0o600); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", public, 0o644)
}

func kubeconfig(server string, ca, cert, key []byte) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: signet
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: user
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: signet
  context:
    cluster: signet
    user: user
current-context: signet
`, server, b64(ca), b64(cert), b64(key))
}
