package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/signet-kafka/signet/test/cluster/internal/cgroup"
	"github.com/signet-kafka/signet/test/cluster/internal/link"
	"github.com/signet-kafka/signet/test/cluster/internal/node"
	"github.com/signet-kafka/signet/test/cluster/internal/pki"
	"github.com/signet-kafka/signet/test/cluster/internal/plan"
)

// guardSpec is what `up` hands to the guard: the first line of its input.
type guardSpec struct {
	Name         string `json:"name"`
	Dir          string `json:"dir"`
	Binary       string `json:"binary"`
	Version      string `json:"version"`
	ControlPlane bool   `json:"controlPlane"`
	// Owner is the process that the cluster must not outlive; 0 for none.
	Owner int `json:"owner"`
}

const (
	nodeName = "node1"
	// fdGuardEvents is where the guard reports to `up`, in node.Event lines.
	fdGuardEvents = 3
	// keepLine is what `up` sends when the cluster is to stay. If the input
	// ends before it, `up` was killed half-way.
	keepLine = "keep\n"
	// upLock is the suffix of the lock that `up` holds while it works.
	upLock = ".up"
	// stopPatience is how long processes get to disappear after SIGKILL.
	stopPatience = 20 * time.Second
)

// interfaceName is the host's device of a cluster. Linux allows 15 bytes.
func interfaceName(name string) string {
	if len(name) <= 12 {
		return "sg-" + name
	}
	sum := sha256.Sum256([]byte(name))
	return "sg-" + name[:5] + "-" + hex.EncodeToString(sum[:3])
}

// cgroupName is the cluster's subtree in each control group hierarchy.
func cgroupName(name string) string { return "signet-" + name }

// runGuard is the process on the host that owns a cluster: it makes what the
// host must provide, starts the process inside, and removes everything when it
// is asked to (SIGTERM), when the owner is gone, or when `up` dies before the
// cluster is complete. If it is itself killed, the kernel kills the inside, and
// `down` removes the rest.
func runGuard() error {
	// The process inside dies with the thread that made it.
	runtime.LockOSThread()
	unix.CloseOnExec(fdGuardEvents)
	events := os.NewFile(fdGuardEvents, "events")
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the cluster's description: %w", err)
	}
	var spec guardSpec
	if err := json.Unmarshal(line, &spec); err != nil {
		return fmt.Errorf("read the cluster's description: %w", err)
	}
	if err := guard(spec, input, events); err != nil {
		node.Event{Error: err.Error()}.Write(events)
		return err
	}
	return nil
}

func guard(spec guardSpec, input *bufio.Reader, events *os.File) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
	if spec.Owner != 0 {
		gone, err := whenGone(spec.Owner)
		if err != nil {
			return err
		}
		ctx = cancelOn(ctx, gone)
	}
	reg, err := openRegistry()
	if err != nil {
		return err
	}
	lock, err := reg.tryLock(spec.Name)
	if errors.Is(err, errLocked) {
		return fmt.Errorf("cluster %s is already running", spec.Name)
	} else if err != nil {
		return err
	}
	defer reg.unlock(lock)

	info := Info{
		Name: spec.Name, Dir: spec.Dir, ControlPlane: spec.ControlPlane, Version: spec.Version,
		Kubeconfig: filepath.Join(spec.Dir, "kubeconfig"), Kubectl: filepath.Join(spec.Dir, "bin", "kubectl"),
		Guard: os.Getpid(), Started: time.Now().UTC().Truncate(time.Second),
	}
	if !spec.ControlPlane {
		info.Interface = interfaceName(spec.Name)
	}
	// A cluster of this name that was killed, or one in this directory.
	if old, err := reg.get(spec.Name); err == nil {
		if err := cleanUp(reg, old); err != nil {
			return err
		}
	}
	if err := prepareDir(reg, info); err != nil {
		return err
	}
	// From here on everything is found through the description.
	if err := info.store(reg); err != nil {
		return err
	}
	err = startAndWatch(ctx, reg, &info, spec, lock, input, events)
	var failed *insideError
	if errors.As(err, &failed) {
		// Keep the directory with its logs until `down`, or for as long as an
		// owner that wants it gone afterwards lives.
		if err := errors.Join(releaseHost(info), os.WriteFile(filepath.Join(info.Dir, "failed"), []byte(failed.Error()+"\n"), 0o644)); err != nil {
			return err
		}
		closeQuietly(events)
		if spec.Owner == 0 {
			return nil
		}
		<-ctx.Done()
	}
	return errors.Join(err, cleanUp(reg, info))
}

// insideError is the end of the process inside that nobody asked for.
type insideError struct{ msg string }

func (e *insideError) Error() string { return e.msg }

// startAndWatch starts the process inside and returns nil once it was told to
// end and has ended.
func startAndWatch(ctx context.Context, reg *registry, info *Info, spec guardSpec, lock *os.File, input *bufio.Reader, events *os.File) error {
	params, subnet, release, err := addresses(ctx, reg, info, spec)
	if err != nil {
		return err
	}
	defer release()
	if err := writeConfiguration(*info, params, subnet, filepath.Dir(spec.Binary)); err != nil {
		return err
	}

	goRead, goWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer closeQuietly(goWrite)
	insideRead, insideWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	inside := exec.CommandContext(context.Background(), "/proc/self/exe", "enter", filepath.Join(info.Dir, "conf", "node.json"))
	inside.ExtraFiles = []*os.File{goRead, insideWrite, lock}
	inside.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	inside.Args[0] = "cluster"
	if spec.ControlPlane {
		inside.Args[1] = "inside"
	} else {
		inside.SysProcAttr.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	}
	log, err := os.Create(filepath.Join(info.Dir, "log", "inside.log"))
	if err != nil {
		return err
	}
	defer closeQuietly(log)
	inside.Stdout, inside.Stderr = log, log
	if err := inside.Start(); err != nil {
		return fmt.Errorf("start the node's first process: %w", err)
	}
	closeQuietly(goRead)
	closeQuietly(insideWrite)
	ended := make(chan struct{})
	go func() {
		_ = inside.Wait()
		close(ended)
	}()
	kill := func() {
		// In a PID namespace the kernel ends the others; without one, the
		// process does that itself on SIGTERM, and on its death they die too.
		if spec.ControlPlane {
			_ = inside.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
				return
			case <-time.After(stopPatience):
			}
		}
		_ = inside.Process.Kill()
		<-ended
	}

	info.Init = inside.Process.Pid
	err = func() error {
		if spec.ControlPlane {
			return nil
		}
		if err := cgroup.Create(cgroupName(info.Name), info.Init); err != nil {
			return err
		}
		return link.Connect(info.Interface, subnet, info.Init)
	}()
	release()
	if err == nil {
		err = info.store(reg)
	}
	if err == nil {
		_, err = goWrite.Write([]byte{1})
	}
	if err != nil {
		kill()
		return err
	}

	why := make(chan string, 1)
	go relay(insideRead, events, why)
	ctx = cancelOn(ctx, untilKept(input))
	select {
	case <-ctx.Done():
		kill()
		return nil
	case <-ended:
		select {
		case reason := <-why:
			return &insideError{reason}
		case <-time.After(time.Second):
			return &insideError{"the node's first process was killed"}
		}
	}
}

// relay copies the inside's events to `up`, which may be gone, and remembers
// the error among them.
func relay(from io.Reader, to io.Writer, why chan<- string) {
	reason := "the node's first process ended (see log/inside.log)"
	for lines := bufio.NewScanner(from); lines.Scan(); {
		var e node.Event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Error != "" {
			reason = e.Error
		}
		_, _ = to.Write(append(lines.Bytes(), '\n'))
	}
	why <- reason
}

// untilKept returns a channel that closes when `up` ends without having said
// that the cluster is to stay.
func untilKept(input *bufio.Reader) <-chan struct{} {
	lost := make(chan struct{})
	go func() {
		if line, _ := input.ReadString('\n'); line != keepLine {
			close(lost)
		}
	}()
	return lost
}

// cancelOn returns a context that ends with ctx or when c closes.
func cancelOn(ctx context.Context, c <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-c:
		case <-ctx.Done():
		}
	}()
	return ctx
}

// whenGone returns a channel that closes when the process ends.
func whenGone(pid int) (<-chan struct{}, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("owner %d: %w", pid, err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer func() { _ = unix.Close(fd) }()
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return gone, nil
}

// addresses chooses what differs between clusters on one machine. Until release
// is called no other cluster chooses a network.
func addresses(ctx context.Context, reg *registry, info *Info, spec guardSpec) (p plan.Params, s link.Subnet, release func(), err error) {
	p = plan.Params{Dir: spec.Dir, Binary: spec.Binary, ControlPlane: spec.ControlPlane}
	if spec.ControlPlane {
		ports, err := freePorts(ctx, 3)
		if err != nil {
			return p, s, nil, err
		}
		p.APIPort, p.EtcdPort, p.EtcdPeerPort = ports[0], ports[1], ports[2]
		p.ServiceCIDR = "10.96.0.0/16"
		info.ServiceCIDR = p.ServiceCIDR
		info.APIServer = fmt.Sprintf("https://127.0.0.1:%d", p.APIPort)
		return p, s, func() {}, nil
	}
	lock, err := reg.lock(ctx, "network", nil)
	if err != nil {
		return p, s, nil, err
	}
	held := true
	release = func() {
		if held {
			held = false
			reg.unlock(lock)
		}
	}
	used, err := link.Used()
	if err == nil {
		s, err = link.Choose(used)
	}
	if err != nil {
		release()
		return p, s, nil, err
	}
	_, p.CNIDir = missingTools()
	p.APIPort, p.EtcdPort, p.EtcdPeerPort = 6443, 2379, 2380
	p.NodeName, p.NodeIP, p.DNS = nodeName, s.Node.String(), s.DNS.String()
	p.PodCIDR, p.ServiceCIDR = s.Pods.String(), s.Services.String()
	info.NodeName, info.NodeIP, info.HostIP, info.DNS = p.NodeName, p.NodeIP, s.Host.String(), p.DNS
	info.Network, info.PodCIDR, info.ServiceCIDR = s.Network.String(), p.PodCIDR, p.ServiceCIDR
	info.APIServer = fmt.Sprintf("https://%s:%d", p.NodeIP, p.APIPort)
	return p, s, release, nil
}

// freePorts asks the kernel for TCP ports of the loopback interface that
// nobody uses.
func freePorts(ctx context.Context, n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("free port: %w", err)
		}
		defer closeQuietly(l)
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("free port: address %s is no TCP address", l.Addr())
		}
		ports = append(ports, addr.Port)
	}
	return ports, nil
}

// writeConfiguration fills the cluster's directory.
func writeConfiguration(info Info, p plan.Params, s link.Subnet, binaries string) error {
	for _, dir := range []string{"bin", "conf/cni", "log"} {
		if err := os.MkdirAll(filepath.Join(info.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"kubectl"} {
		if err := os.Symlink(filepath.Join(binaries, name), filepath.Join(info.Dir, "bin", name)); err != nil {
			return err
		}
	}
	o := pki.Options{Dir: filepath.Join(info.Dir, "pki"), Server: info.APIServer, Now: time.Now()}
	c := node.Config{Dir: info.Dir, Components: plan.Components(p)}
	if !info.ControlPlane {
		o.NodeName, o.NodeIP = p.NodeName, s.Node.AsSlice()
		o.IPs = []net.IP{s.Node.AsSlice(), s.ServiceAddress().AsSlice()}
		c.Hostname, c.Subnet, c.Keep = p.NodeName, s, []string{binaries}
	}
	if err := pki.Write(o); err != nil {
		return err
	}
	admin, err := os.ReadFile(filepath.Join(o.Dir, "admin.kubeconfig"))
	if err != nil {
		return err
	}
	if err := writeFile(info.Kubeconfig, admin, 0o600); err != nil {
		return err
	}
	for name, content := range plan.Files(p) {
		if err := writeFile(filepath.Join(info.Dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(info.Dir, "conf", "node.json"), raw, 0o644)
}

// prepareDir makes the cluster's directory, after removing what a dead cluster
// left there. It refuses a directory that holds anything else.
func prepareDir(reg *registry, info Info) error {
	entries, err := os.ReadDir(info.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		old, err := readInfo(info.Dir)
		if err != nil {
			return fmt.Errorf("directory %s is not empty and holds no cluster: give another --dir", info.Dir)
		}
		if old.Name != info.Name && reg.alive(old.Name) {
			return fmt.Errorf("directory %s belongs to the running cluster %s", info.Dir, old.Name)
		}
		if err := cleanUp(reg, old); err != nil {
			return err
		}
	}
	return os.MkdirAll(info.Dir, 0o755)
}

// store writes the description into the cluster's directory and the registry.
func (i Info) store(reg *registry) error {
	if err := i.write(filepath.Join(i.Dir, "cluster.json")); err != nil {
		return err
	}
	return i.write(reg.file(i.Name))
}

// releaseHost removes what the host had for a node whose processes are dead.
func releaseHost(info Info) error {
	if info.ControlPlane {
		return nil
	}
	return errors.Join(link.Disconnect(info.Interface), cgroup.Remove(cgroupName(info.Name), stopPatience))
}

// cleanUp removes everything that a cluster whose processes are dead, or dying
// by SIGKILL, has left. It may be repeated.
func cleanUp(reg *registry, info Info) error {
	if err := awaitProcesses(info.Dir, stopPatience); err != nil {
		return err
	}
	if err := releaseHost(info); err != nil {
		return err
	}
	if err := os.RemoveAll(info.Dir); err != nil {
		return fmt.Errorf("remove %s: %w", info.Dir, err)
	}
	// The lock file of an `up` that was killed.
	if lock, err := reg.tryLock(info.Name + upLock); err == nil {
		reg.unlock(lock)
	}
	return reg.remove(info.Name)
}

// awaitProcesses waits until no component of the cluster in dir is left: when
// the guard of a control plane is killed, its components die a moment later.
func awaitProcesses(dir string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		pids := componentsOf(dir)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of the cluster in %s do not end", pids, dir)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// componentsOf finds live processes by the certificates that each component's
// command line names.
func componentsOf(dir string) []int {
	var pids []int
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscanf(e.Name(), "%d", &pid); err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && strings.Contains(string(cmdline), "="+filepath.Join(dir, "pki")+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}
