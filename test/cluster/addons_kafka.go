package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
	"time"
)

// Where Kafka is: pods use kafka.kafka.svc:9093 (mTLS) or :9092 (plaintext, no identity), the host uses the node's
// address and this port (mTLS).
const kafkaNodePort = 30094

//go:embed components/kafka/manifests/*.yaml
var kafkaManifests embed.FS

// kafkaOptions are what the manifests of Kafka leave open.
type kafkaOptions struct {
	Image, ClusterID, DataDir, NodeIP string
	NodePort                          int
}

// installKafka makes the broker's certificate and its StatefulSet. It does not wait for the broker.
func installKafka(ctx context.Context, c *Cluster) error {
	data := filepath.Join(c.Dir, "kafka")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	// A hostPath ignores fsGroup, and the broker does not run as root.
	if err := os.Chown(data, nonRootID, nonRootID); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	o := kafkaOptions{
		Image: kafkaImage, ClusterID: kafkaClusterID(c.Name), DataDir: data, NodeIP: c.NodeIP, NodePort: kafkaNodePort,
	}
	certificates, err := o.render("certificates.yaml")
	if err != nil {
		return err
	}
	if err := apply(ctx, c, certificates); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	err = eventually(ctx, c, "cert-manager", time.Minute, func(ctx context.Context) error {
		_, err := c.Kubectl(ctx, nil, "--namespace", "kafka", "wait", "--for=condition=Ready", "certificate/kafka-broker", "--timeout=10s")
		return err
	})
	if err != nil {
		return fmt.Errorf("kafka: certificate: %w", err)
	}
	broker, err := o.render("kafka.yaml")
	if err != nil {
		return err
	}
	if err := apply(ctx, c, broker); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	c.Progress("kafka is installed; its broker starts when ConfigMap kafka/kafka-signet-broker exists")
	return nil
}

func (o kafkaOptions) render(file string) (string, error) {
	t, err := template.ParseFS(kafkaManifests, "components/kafka/manifests/"+file)
	if err != nil {
		return "", fmt.Errorf("kafka: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, o); err != nil {
		return "", fmt.Errorf("kafka: %w", err)
	}
	return out.String(), nil
}

// kafkaClusterID derives Kafka's cluster id (a base64url UUID) from the cluster's name, so that a broker that starts
// again finds its own data.
func kafkaClusterID(name string) string {
	sum := sha256.Sum256([]byte("kafka of " + name))
	// The first byte's high bits clear: a leading "-" would look like an option to Kafka's tools.
	sum[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
