package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/signet-kafka/signet/test/cluster/cache"
	"github.com/signet-kafka/signet/test/cluster/debian"
	"github.com/signet-kafka/signet/test/cluster/internal/node"
)

//go:embed manifests/base.yaml
var baseManifest string

// upOptions are the flags of `cluster up`.
type upOptions struct {
	name, dir    string
	owner        int
	controlPlane bool
	// The add-ons.
	certManager, istio, mesh, kafka, clients bool
}

// errNeedsRoot is what an unprivileged user is told.
var errNeedsRoot = errors.New("a cluster with a node needs root, for namespaces, mounts, network devices and iptables: run this with sudo; without root, `cluster up --control-plane` starts etcd, the API server and the controller manager only")

// up starts the cluster, or finds it running, and installs the add-ons.
func up(ctx context.Context, o upOptions, p *progress) (*Cluster, error) {
	if err := checkName(o.name); err != nil {
		return nil, err
	}
	if !o.controlPlane && os.Geteuid() != 0 {
		return nil, errNeedsRoot
	}
	if o.controlPlane && (o.certManager || o.istio || o.mesh || o.kafka || o.clients) {
		return nil, errors.New("add-ons run as pods, and --control-plane starts no node for them")
	}
	cacheDir, err := cache.DefaultDir()
	if err != nil {
		return nil, err
	}
	if o.dir == "" {
		o.dir = filepath.Join(cacheDir, "clusters", o.name)
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return nil, err
	}
	source, err := sourceDir()
	if err != nil {
		return nil, err
	}
	reg, err := openRegistry()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Cache: cache.New(cacheDir, p.Printf), Source: source, progress: p}
	lock, err := reg.lock(ctx, o.name+upLock, func() { p.Printf("waiting for another cluster up of %s", o.name) })
	if err != nil {
		return nil, err
	}
	defer reg.unlock(lock)
	if reg.alive(o.name) {
		err = c.join(ctx, reg, o)
	} else {
		go prebuild(ctx, c, o)
		if err = c.start(ctx, o); err != nil {
			awaitGuard(reg, o)
		}
	}
	if err != nil {
		return nil, err
	}
	if !o.controlPlane {
		if err := installAddons(ctx, c, o); err != nil {
			return nil, fmt.Errorf("%w (the cluster is left running: cluster down --name %s removes it)", err, c.Name)
		}
	}
	return c, nil
}

// join finds a cluster that is already running.
func (c *Cluster) join(ctx context.Context, reg *registry, o upOptions) error {
	info, err := reg.get(o.name)
	if err != nil {
		return fmt.Errorf("cluster %s is being taken down", o.name)
	}
	c.Info = info
	switch {
	case info.ControlPlane != o.controlPlane:
		return fmt.Errorf("cluster %s is already running, with --control-plane=%t: cluster down --name %[1]s first, or give another --name", o.name, info.ControlPlane)
	case info.Dir != o.dir:
		return fmt.Errorf("cluster %s is already running in %s: give that --dir, or another --name", o.name, info.Dir)
	}
	if _, err := c.Kubectl(ctx, nil, "get", "--raw", "/readyz", "--request-timeout=10s"); err != nil {
		return fmt.Errorf("cluster %s is running but does not answer (cluster down --name %[1]s removes it): %w", o.name, err)
	}
	c.Progress("%s is already up", o.name)
	return nil
}

// start makes a new cluster.
func (c *Cluster) start(ctx context.Context, o upOptions) error {
	if !o.controlPlane {
		if packages, _ := missingTools(); len(packages) > 0 {
			if err := debian.Ensure(ctx, c.Progress, packages...); err != nil {
				return err
			}
		}
	}
	binary, version, err := buildKubernetes(ctx, c.Cache, c.Source)
	if err != nil {
		return err
	}
	var baseImages string
	if !o.controlPlane {
		if baseImages, err = buildBaseImages(ctx, c.Cache, c.Source); err != nil {
			return err
		}
	}
	g, err := startGuard(guardSpec{Name: o.name, Dir: o.dir, Binary: binary, Version: version, ControlPlane: o.controlPlane, Owner: o.owner})
	if err != nil {
		return err
	}
	// Ends the cluster again, unless it was told to keep it.
	defer func() { _ = g.close() }()
	loaded := make(chan error, 1)
	loading := false
	err = g.follow(ctx, func(e node.Event) {
		c.Progress("%s", e.Message)
		if !o.controlPlane && !loading && strings.HasPrefix(e.Message, "containerd ready") {
			loading = true
			info, err := readInfo(o.dir)
			if err != nil {
				loaded <- err
				return
			}
			started := &Cluster{Info: info}
			go func() { loaded <- started.Load(ctx, baseImages) }()
		}
	})
	if err != nil {
		return c.explain(o, err)
	}
	if c.Info, err = readInfo(o.dir); err != nil {
		return err
	}
	if !o.controlPlane {
		if err := <-loaded; err != nil {
			return err
		}
		if err := c.settle(ctx); err != nil {
			return err
		}
	}
	return g.keep()
}

// awaitGuard waits until the guard of a cluster that did not come up has
// removed it, or has left its logs for inspection.
func awaitGuard(reg *registry, o upOptions) {
	for deadline := time.Now().Add(stopPatience); reg.alive(o.name) && time.Now().Before(deadline); {
		if _, err := os.Stat(filepath.Join(o.dir, "failed")); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// settle waits until pods can run and find Services by name.
func (c *Cluster) settle(ctx context.Context) error {
	manifest := strings.ReplaceAll(baseManifest, "__DNS__", c.DNS)
	if _, err := c.Kubectl(ctx, strings.NewReader(manifest), "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, nil, "wait", "--for=create", "node/"+c.NodeName, "--timeout=60s"); err != nil {
		return c.withLog("kubelet", err)
	}
	if _, err := c.Kubectl(ctx, nil, "wait", "--for=condition=Ready", "node/"+c.NodeName, "--timeout=60s"); err != nil {
		return c.withLog("kubelet", err)
	}
	c.Progress("node %s is Ready", c.NodeName)
	if _, err := c.Kubectl(ctx, nil, "--namespace=kube-system", "rollout", "status", "deployment/coredns", "--timeout=90s"); err != nil {
		pods, _ := c.Kubectl(ctx, nil, "--namespace=kube-system", "describe", "pods")
		return fmt.Errorf("cluster DNS: %w\n%s", err, pods)
	}
	c.Progress("cluster DNS answers at %s", c.DNS)
	return nil
}

// explain adds the end of the log of the component that failed.
func (c *Cluster) explain(o upOptions, err error) error {
	c.Dir = o.dir
	var failed *startError
	if errors.As(err, &failed) && failed.component != "" {
		return c.withLog(failed.component, err)
	}
	return err
}

func (c *Cluster) withLog(component string, err error) error {
	file := filepath.Join(c.Dir, "log", component+".log")
	return fmt.Errorf("%w\nthe end of %s:\n%s", err, file, tailOf(file, 20))
}

// tailOf returns the last lines of a file, or why it cannot.
func tailOf(file string, lines int) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return "  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}

// startError is a cluster that did not come up.
type startError struct{ component, msg string }

func (e *startError) Error() string { return e.msg }

// closeQuietly closes what was read, locked or handed to another process, where
// an error would change nothing.
func closeQuietly(c io.Closer) { _ = c.Close() }

// guardProcess is the guard, seen from `up`.
type guardProcess struct {
	input  *os.File
	events *os.File
}

func startGuard(spec guardSpec) (*guardProcess, error) {
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer closeQuietly(inRead)
	eventsRead, eventsWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inWrite.Close())
	}
	defer closeQuietly(eventsWrite)
	g := &guardProcess{input: inWrite, events: eventsRead}
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", "guard")
	cmd.Args[0] = "cluster"
	cmd.Dir = "/"
	cmd.Stdin = inRead
	cmd.ExtraFiles = []*os.File{eventsWrite}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the cluster's guard: %w", err), g.close())
	}
	// The guard outlives this process; nobody waits for it.
	if err := cmd.Process.Release(); err != nil {
		return nil, errors.Join(err, g.close())
	}
	line, err := json.Marshal(spec)
	if err == nil {
		_, err = inWrite.Write(append(line, '\n'))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the cluster's guard: %w", err), g.close())
	}
	return g, nil
}

// follow reports progress until everything runs.
func (g *guardProcess) follow(ctx context.Context, report func(node.Event)) error {
	stop := context.AfterFunc(ctx, func() { _ = g.events.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for lines := bufio.NewScanner(g.events); lines.Scan(); {
		var e node.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("the cluster's guard said %q", lines.Text())
		}
		switch {
		case e.Error != "":
			return &startError{e.Component, e.Error}
		case e.Running:
			return nil
		default:
			report(e)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &startError{"inside", "the cluster's guard ended before the cluster was up"}
}

// keep makes the cluster stay when this process ends.
func (g *guardProcess) keep() error {
	if _, err := g.input.WriteString(keepLine); err != nil {
		return fmt.Errorf("the cluster's guard is gone: %w", err)
	}
	return nil
}

func (g *guardProcess) close() error { return errors.Join(g.input.Close(), g.events.Close()) }
