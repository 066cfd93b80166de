package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Config is the content of kafka.json.
type Config struct {
	// BootstrapServers are host:port pairs.
	BootstrapServers []string `json:"bootstrapServers"`
	// SecurityProtocol is SSL or PLAINTEXT; empty means SSL when there is a CAFile.
	SecurityProtocol string `json:"securityProtocol,omitempty"`
	// CAFile holds the PEM certificates that the broker's certificate must chain to.
	CAFile string `json:"caFile,omitempty"`
	// CertFile is the client's certificate chain in PEM; empty means no client certificate.
	CertFile string `json:"certFile,omitempty"`
	// KeyFile is the private key of CertFile in PEM.
	KeyFile string `json:"keyFile,omitempty"`
	// ClientID is what the broker's logs and quotas call this client.
	ClientID string `json:"clientId,omitempty"`
	// Principal and Cluster say whom the certificate stands for and where; they are information only.
	Principal string `json:"principal,omitempty"`
	Cluster   string `json:"cluster,omitempty"`
}

// source says where a configuration comes from: the flags of the command.
type source struct {
	file, dir, ca string
	bootstrap     []string
}

// load reads the configuration. With a directory, its files are used whatever paths kafka.json names, so that a
// copy of a mounted directory works as it is.
func (s source) load() (Config, error) {
	var c Config
	switch {
	case s.ca != "":
		c = Config{CAFile: s.ca}
	case s.dir != "":
		if err := readJSON(filepath.Join(s.dir, "kafka.json"), &c); err != nil && !errors.Is(err, os.ErrNotExist) {
			return Config{}, err
		}
		c.SecurityProtocol = "SSL"
		c.CAFile = filepath.Join(s.dir, "ca.crt")
		c.CertFile = filepath.Join(s.dir, "tls.crt")
		c.KeyFile = filepath.Join(s.dir, "tls.key")
	case s.file != "":
		if err := readJSON(s.file, &c); err != nil {
			return Config{}, err
		}
	}
	if len(s.bootstrap) > 0 {
		c.BootstrapServers = s.bootstrap
	}
	if len(c.BootstrapServers) == 0 {
		return Config{}, errors.New("no bootstrap servers: set KAFKA_CLIENT_JSON, or give --config, --dir or --bootstrap")
	}
	switch c.SecurityProtocol {
	case "":
		if c.CAFile != "" {
			c.SecurityProtocol = "SSL"
		}
	case "SSL", "PLAINTEXT":
	default:
		return Config{}, fmt.Errorf("security protocol %q: want SSL or PLAINTEXT", c.SecurityProtocol)
	}
	return c, nil
}

func readJSON(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("client configuration: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("client configuration %s: %w", file, err)
	}
	return nil
}

// client connects with the configuration.
func (c Config) client(options ...kgo.Opt) (*kgo.Client, error) {
	options = append(options, kgo.SeedBrokers(c.BootstrapServers...), kgo.DialTimeout(5*time.Second))
	if c.ClientID != "" {
		options = append(options, kgo.ClientID(c.ClientID))
	}
	if c.SecurityProtocol == "SSL" {
		options = append(options, kgo.Dialer(c.dial))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	return client, nil
}

func (c Config) dial(ctx context.Context, network, address string) (net.Conn, error) {
	config, err := c.tls()
	if err != nil {
		return nil, err
	}
	// A refused client certificate is an alert that TLS 1.3 delivers after the handshake: the first read fails.
	dialer := tls.Dialer{NetDialer: &net.Dialer{}, Config: config}
	return dialer.DialContext(ctx, network, address)
}

// tls reads all files anew: a renewed certificate is used by the next connection.
func (c Config) tls() (*tls.Config, error) {
	bundle, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("broker CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, fmt.Errorf("broker CA %s: no PEM certificate in it", c.CAFile)
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if c.CertFile == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	// Not Certificates: Go would silently send none when the broker's list of acceptable CAs does not name its issuer.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config, nil
}
