// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build stepca

package issuer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smallstep/certificates/cas/apiv1"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

// The tests of this file start a real step-ca. They need, in SIGNET_STEPCA, the path of its binary, which is built from
// test/stepca: go test -tags stepca ./issuer

// The templates of provisioners. The first is the one that docs/security.md gives.
var stepTemplates = map[string]string{
	"signet": `{
  "rawSubject": {{ toJson .Insecure.CR.RawSubject }},
  "uris": {{ toJson .Insecure.CR.URIs }},
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["clientAuth"]
}`,
	"default": "", // step-ca's own, for servers and clients
	"generous": `{
  "rawSubject": {{ toJson .Insecure.CR.RawSubject }},
  "sans": {{ toJson .SANs }},
  "dnsNames": ["kafka.kafka.svc"],
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["clientAuth"]
}`,
	"wasteful": `{
  "rawSubject": {{ toJson .Insecure.CR.RawSubject }},
  "uris": {{ toJson .Insecure.CR.URIs }},
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["clientAuth", "serverAuth"]
}`,
	"careless": `{
  "subject": {"commonName": "signet", "organization": "signet-controller"},
  "uris": {{ toJson .Insecure.CR.URIs }},
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["clientAuth"]
}`,
}

// realStepCA is a step-ca process whose provisioners all have one key.
type realStepCA struct {
	stepAuthority

	provisioner provisioner
	url         string
	dir         string
	stop        func()
}

func newRealStepCA(t *testing.T) *realStepCA {
	t.Helper()
	r := &realStepCA{stepAuthority: newStepAuthority(t), provisioner: newProvisioner(t), dir: t.TempDir()}
	key, err := x509.MarshalPKCS8PrivateKey(r.key)
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "root.crt", certs.EncodeCertificates([]*x509.Certificate{r.root}))
	r.write(t, "intermediate.crt", certs.EncodeCertificates([]*x509.Certificate{r.intermediate}))
	r.write(t, "intermediate.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	r.start(t)
	return r
}

func (r *realStepCA) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// start starts the process on a free port and waits until it answers.
func (r *realStepCA) start(t *testing.T) {
	t.Helper()
	binary := os.Getenv("SIGNET_STEPCA")
	if binary == "" {
		t.Fatal("SIGNET_STEPCA does not name a step-ca; test/run sets it, and in test/cluster `go run . step-ca` prints one")
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	var provisioners []map[string]any
	for name, template := range stepTemplates {
		p := map[string]any{"type": "JWK", "name": name, "key": r.provisioner.public}
		if template != "" {
			p["options"] = map[string]any{"x509": map[string]any{"template": template}}
		}
		provisioners = append(provisioners, p)
	}
	file := func(name string) string { return filepath.Join(r.dir, name) }
	config, err := json.Marshal(map[string]any{
		"root": file("root.crt"), "crt": file("intermediate.crt"), "key": file("intermediate.key"), "address": address, "dnsNames": []string{"127.0.0.1"},
		"logger": map[string]string{"format": "text"}, "authority": map[string]any{"provisioners": provisioners},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "ca.json", config)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, binary, file("ca.json"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // when a test times out, nothing else ends it
	cmd.Env = append(os.Environ(), "STEPPATH="+r.dir, "HOME="+r.dir)
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed, or says why on its output
		close(ended)
	}()
	r.url = "https://" + address
	r.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("step-ca:\n%s", &printed)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		_, err := stepRoots(t.Context(), r.source("signet"))
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("step-ca ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("step-ca does not answer: %v", err)
		}
	}
}

func (r *realStepCA) source(provisioner string) v1alpha1.StepCASource {
	return v1alpha1.StepCASource{URL: r.url, Fingerprint: certs.Fingerprint(r.root.Raw), Provisioner: provisioner}
}

// TestStepCATemplateInDocs keeps the page that users copy from to what is tested here.
func TestStepCATemplateInDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```text\n"+stepTemplates["signet"]+"\n```") {
		t.Error("docs/security.md has another template than the tests")
	}
}

// TestStepCAReal is the mode StepCA against step-ca itself.
func TestStepCAReal(t *testing.T) {
	r := newRealStepCA(t)
	backEnd := func(t *testing.T, provisioner string) apiv1.CertificateAuthorityService {
		t.Helper()
		ca, err := newStepCA(t.Context(), r.source(provisioner), r.provisioner.secret(t))
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}

	t.Run("roots", func(t *testing.T) {
		roots, err := stepRoots(t.Context(), r.source("signet"))
		if err != nil || !slices.EqualFunc(roots, []*x509.Certificate{r.root}, (*x509.Certificate).Equal) {
			t.Errorf("%d roots, %v", len(roots), err)
		}
	})

	t.Run("an honest request", func(t *testing.T) {
		grant := granted(t)
		ca, err := newStepCA(t.Context(), r.source("signet"), map[string][]byte{keyJWK: []byte(r.provisioner.encrypted(t)), keyPassword: []byte(stepPassword)})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // two tokens, for step-ca takes each once
			response, err := ca.CreateCertificate(grant)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkSigned(response.Certificate, grant.Template); err != nil {
				t.Error(err)
			}
			if !response.Certificate.NotAfter.Equal(grant.Template.NotAfter) {
				t.Errorf("valid until %s, not %s", response.Certificate.NotAfter, grant.Template.NotAfter)
			}
			if len(response.CertificateChain) != 1 || !response.CertificateChain[0].Equal(r.intermediate) {
				t.Errorf("a chain of %d", len(response.CertificateChain))
			}
		}
	})

	for provisioner, says := range map[string]string{
		"default":  "its subject is", // and serverAuth
		"wasteful": "its extended key usage is not clientAuth alone",
		"generous": "its subjectAltName is not exactly the URI",
		"careless": "its subject is",
	} {
		t.Run("the answer of the provisioner "+provisioner, func(t *testing.T) {
			grant := granted(t)
			response, err := backEnd(t, provisioner).CreateCertificate(grant)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkSigned(response.Certificate, grant.Template); !errors.Is(err, errNotAsGranted) || !strings.Contains(err.Error(), says) {
				t.Errorf("%v; want %q", err, says)
			}
		})
	}

	t.Run("a life beyond the provisioner's", func(t *testing.T) {
		grant := granted(t)
		grant.Template.NotAfter = time.Now().Add(25 * time.Hour)
		_, err := backEnd(t, "signet").CreateCertificate(grant)
		if !errors.Is(err, errCARefused) || !strings.Contains(err.Error(), "HTTP 403") {
			t.Error(err)
		}
	})

	t.Run("an unknown provisioner", func(t *testing.T) {
		if _, err := backEnd(t, "nobody").CreateCertificate(granted(t)); !errors.Is(err, errCARefused) || !strings.Contains(err.Error(), "HTTP 401") {
			t.Error(err)
		}
	})

	t.Run("another key than the provisioner's", func(t *testing.T) {
		ca, err := newStepCA(t.Context(), r.source("signet"), newProvisioner(t).secret(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ca.CreateCertificate(granted(t)); !errors.Is(err, errCARefused) || !strings.Contains(err.Error(), "HTTP 401") {
			t.Error(err)
		}
	})

	t.Run("a request that the token is not for", func(t *testing.T) {
		ca := backEnd(t, "signet").(*stepCA)
		token, err := ca.token(granted(t).CSR, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		// The same names, another key: what a thief of the token would send.
		csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: granted(t).CSR.Raw})
		body, err := json.Marshal(map[string]string{"csr": string(csr), "ott": token})
		if err != nil {
			t.Fatal(err)
		}
		if err := call(t.Context(), ca.client, "POST", ca.base.JoinPath("1.0", "sign"), body, nil); !errors.Is(err, errCARefused) {
			t.Error(err)
		}
	})

	t.Run("no request", func(t *testing.T) {
		grant := granted(t)
		grant.CSR = nil
		if _, err := backEnd(t, "signet").CreateCertificate(grant); !errors.Is(err, errNoRequest) {
			t.Error(err)
		}
	})

	t.Run("wrong fingerprint", func(t *testing.T) {
		source := r.source("signet")
		source.Fingerprint = certs.Fingerprint(r.intermediate.Raw)
		if _, err := newStepCA(t.Context(), source, r.provisioner.secret(t)); !errors.Is(err, certs.ErrCAInvalid) {
			t.Error(err)
		}
	})

	t.Run("wrong password", func(t *testing.T) {
		secret := map[string][]byte{keyJWK: []byte(r.provisioner.encrypted(t)), keyPassword: []byte("battery staple")}
		if _, err := newStepCA(t.Context(), r.source("signet"), secret); !errors.Is(err, certs.ErrCAInvalid) || strings.Contains(err.Error(), "staple") {
			t.Error(err)
		}
	})

	t.Run("down", func(t *testing.T) {
		ca := backEnd(t, "signet")
		r.stop()
		_, err := ca.CreateCertificate(granted(t))
		_, again := newStepCA(t.Context(), r.source("signet"), r.provisioner.secret(t))
		for _, err := range []error{err, again} {
			if err == nil || certs.ReasonOf(err) != "" || errors.Is(err, errCARefused) || !strings.Contains(err.Error(), "refused") {
				t.Error(fmt.Errorf("not an error that is worth a retry: %w", err))
			}
		}
	})
}
