// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/certs"
	"github.com/signet-kafka/signet/principal/subject"
)

// FileSettings is the file in a client's directory that says whose credentials these are and where they come from. It
// holds no secret.
const FileSettings = "signet.json"

// Settings are what sign was told about a directory, so that renew can do the same again.
type Settings struct {
	// User and Namespace name the KafkaUser.
	User      string `json:"user"`
	Namespace string `json:"namespace"`
	// Kubeconfig is the absolute path given by --kubeconfig; without one the usual ones are used ($KUBECONFIG, ~/.kube/config).
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// Context of the kubeconfig; it is fixed, so that nobody's kubectl config use-context leads a timer astray.
	Context string `json:"context,omitempty"`
	// Listener of the KafkaCluster; default: the one with scope External.
	Listener string `json:"listener,omitempty"`
	// Path is the directory as the client sees it, where that differs.
	Path string `json:"path,omitempty"`
	// Duration is the lifetime to ask for; default: the KafkaUser's.
	Duration metav1.Duration `json:"duration,omitzero"`
	// KeyFile is the file of a private key that somebody else keeps on this machine; default: a new key each time.
	KeyFile string `json:"keyFile,omitempty"`
	// KeyElsewhere says that the key is not on this machine, or not in a file: the directory has a certificate only.
	KeyElsewhere bool `json:"keyElsewhere,omitempty"`
	// CSR is the file of the certificate request, where the key is elsewhere; none where it came by standard input.
	CSR string `json:"csr,omitempty"`
	// RenewAt is the part of a certificate's life after which it is renewed: see NewRenewAt.
	RenewAt float64 `json:"renewAt"`
}

const (
	renewAtLeast = 2. / 3
	renewJitter  = 0.1
)

// NewRenewAt returns when the certificates of a directory are renewed, as a part of their life: at two thirds and up to a
// tenth more. It is drawn once for each directory (random is in [0, 1)) and kept in its settings, so that machines that
// were set up in one go, with the same paths, do not all come at once for ever after.
func NewRenewAt(random float64) float64 { return renewAtLeast + renewJitter*random }

// ParseSettings reads a settings file. A field that it does not know is refused, because a newer version of this command
// may mean something by it.
func ParseSettings(text []byte) (Settings, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var s Settings
	if err := decoder.Decode(&s); err != nil {
		return Settings{}, fmt.Errorf("%s: %w", FileSettings, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Settings{}, fmt.Errorf("%s: something follows the JSON object", FileSettings)
	}
	switch {
	case s.User == "" || s.Namespace == "":
		return Settings{}, fmt.Errorf("%s: user and namespace are needed", FileSettings)
	case s.RenewAt < 0.1 || s.RenewAt > 0.95:
		return Settings{}, fmt.Errorf("%s: renewAt is %g; it is the part of a certificate's life after which it is renewed, from 0.1 to 0.95", FileSettings, s.RenewAt)
	case s.KeyElsewhere && s.KeyFile != "":
		return Settings{}, fmt.Errorf("%s: keyFile has no meaning with keyElsewhere", FileSettings)
	case CheckDuration(s.Duration.Duration) != nil:
		return Settings{}, fmt.Errorf("%s: %w", FileSettings, CheckDuration(s.Duration.Duration))
	}
	return s, nil
}

// File returns the settings file.
func (s Settings) File() (File, error) {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", FileSettings, err)
	}
	return File{FileSettings, 0o644, append(text, '\n')}, nil
}

// Due says why a certificate has to be renewed now; "" where it need not. chain may be anything.
func Due(chain []byte, subjectText string, renewAt float64, now time.Time) string {
	certificates, err := certs.ParseCertificates(chain)
	if err != nil {
		return "there is no certificate"
	}
	leaf := certificates[0]
	if name, err := subject.Parse(leaf.RawSubject); err != nil || name.String() != subjectText {
		return "the KafkaUser has another subject"
	}
	if !now.Before(renewalTime(leaf, renewAt)) {
		return "it is time"
	}
	return ""
}

func renewalTime(leaf *x509.Certificate, renewAt float64) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return leaf.NotBefore.Add(time.Duration(renewAt * float64(life)))
}

// Changed returns the names of the files that differ from what is there, in order; a file that is there and not wanted
// is one of them.
func Changed(there map[string][]byte, wanted []File) []string {
	var names []string
	expected := map[string]bool{}
	for _, f := range wanted {
		expected[f.Name] = true
		if data, ok := there[f.Name]; !ok || !bytes.Equal(data, f.Data) {
			names = append(names, f.Name)
		}
	}
	for name := range there {
		if !expected[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
