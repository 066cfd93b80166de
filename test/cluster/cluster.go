package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/signet-kafka/signet/test/cluster/cache"
)

// Info describes a cluster. It is the content of cluster.json in the cluster's
// directory, which other programs may read; fields that mean nothing in
// control-plane mode are empty there.
type Info struct {
	// Name is unique among this user's running clusters.
	Name string `json:"name"`
	// Dir is the absolute path of the cluster's directory.
	Dir string `json:"dir"`
	// ControlPlane says that there is no node: etcd, API server and controller
	// manager only.
	ControlPlane bool `json:"controlPlane,omitempty"`
	// APIServer is the URL of the API server, reachable from the host.
	APIServer string `json:"apiServer"`
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string `json:"kubeconfig"`
	// Kubectl is the path of a kubectl of the cluster's own version.
	Kubectl string `json:"kubectl"`
	// Version is the version of Kubernetes, for example "v1.37.1".
	Version string `json:"version"`
	// NodeName is the name of the one Node.
	NodeName string `json:"nodeName,omitempty"`
	// NodeIP is the node's address, HostIP the host's on the same link, where
	// pods and the API server reach servers of the host.
	NodeIP string `json:"nodeIP,omitempty"`
	HostIP string `json:"hostIP,omitempty"`
	// Network is the one prefix that is routed to the node; the next two are
	// parts of it, so that the host reaches pods and Services directly.
	Network     string `json:"network,omitempty"`
	PodCIDR     string `json:"podCIDR,omitempty"`
	ServiceCIDR string `json:"serviceCIDR,omitempty"`
	// DNS is the address of the cluster's name server.
	DNS string `json:"dns,omitempty"`
	// Interface is the host's end of the link to the node.
	Interface string `json:"interface,omitempty"`
	// Guard is the process that owns everything of the cluster on the host; Init
	// is the first process of the node's PID namespace. Both are numbers in the
	// host's PID namespace.
	Guard int `json:"guard"`
	Init  int `json:"init"`
	// Started is when the cluster was asked for.
	Started time.Time `json:"started"`
}

// Cluster is a running cluster, seen from the host.
type Cluster struct {
	Info
	// Cache keeps builds; Source is the directory of this module, where the
	// components' sources are.
	Cache  *cache.Cache
	Source string

	progress *progress
}

// Progress prints a line with the elapsed seconds.
func (c *Cluster) Progress(format string, args ...any) { c.progress.Printf(format, args...) }

// Kubectl runs kubectl as the cluster's administrator and returns its standard
// output. The error holds what kubectl said.
func (c *Cluster) Kubectl(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.Info.Kubectl, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	cmd.Stdin = stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// Load imports OCI archives into the node's containerd, where the kubelet finds
// them (with imagePullPolicy IfNotPresent or Never).
func (c *Cluster) Load(ctx context.Context, archives ...string) error {
	if c.ControlPlane {
		return fmt.Errorf("cluster %s has no node to load images into: it was started with --control-plane", c.Name)
	}
	for _, a := range archives {
		f, err := os.Open(a)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		cmd := c.inNode(ctx, "ctr", "--namespace", "k8s.io", "images", "import", "-")
		cmd.Stdin = f
		out, err := cmd.CombinedOutput()
		closeQuietly(f)
		if err != nil {
			return fmt.Errorf("load %s: %w: %s", a, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// inNode returns a command that runs in the node's namespaces.
func (c *Cluster) inNode(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", strconv.Itoa(c.Init), "--mount", "--net", "--pid", "--uts", "--"}, args...)...)
	cmd.Dir = "/"
	return cmd
}

// readInfo reads cluster.json of the cluster in dir.
func readInfo(dir string) (Info, error) {
	var info Info
	raw, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(raw, &info); err != nil {
		return info, fmt.Errorf("%s: %w", filepath.Join(dir, "cluster.json"), err)
	}
	return info, nil
}

// write stores the description, complete or not at all.
func (i Info) write(file string) error {
	raw, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(file, append(raw, '\n'), 0o644)
}

// writeFile writes a file that appears complete or not at all.
func writeFile(name string, content []byte, mode fs.FileMode) error {
	partial := name + ".partial"
	if err := os.WriteFile(partial, content, mode); err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	return os.Rename(partial, name)
}

// progress prints lines with the seconds since it was made.
type progress struct {
	out   io.Writer
	start time.Time
}

// Printf prints one line.
func (p *progress) Printf(format string, args ...any) {
	fmt.Fprintf(p.out, "%6.1fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}
