package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/signet-kafka/signet/test/cluster/internal/cgroup"
)

// private directories get an empty file system of the node's own: sockets,
// locks, temporary files and state of components end with the namespace, and
// two nodes use the same paths side by side.
var private = []string{"/run", "/tmp", "/var/lib"}

// tunables are what the kubelet wants these to be. They belong to the whole
// machine, so the node sees files that already say so instead.
var tunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// mounts turns the mount namespace, so far a copy of the host's, into the
// node's. Nothing of it is visible on the host.
func mounts(c Config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	keep := map[string]int{}
	for _, dir := range append([]string{c.Dir}, c.Keep...) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", dir, err)
		}
		defer func() { _ = unix.Close(fd) }()
		keep[dir] = fd
	}
	hierarchies, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// sysfs shows the network devices of the namespace that mounted it.
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if len(hierarchies) > 0 && hierarchies[0].Path != "/sys/fs/cgroup" {
		if err := unix.Mount("tmpfs", "/sys/fs/cgroup", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755"); err != nil {
			return fmt.Errorf("mount /sys/fs/cgroup: %w", err)
		}
	}
	if err := cgroup.Mount(hierarchies); err != nil {
		return err
	}
	for _, dir := range private {
		mode := "mode=755"
		if dir == "/tmp" {
			mode = "mode=1777"
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, mode); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	for dir, fd := range keep {
		if same(fd, dir) {
			continue
		}
		if err := bind(fmt.Sprintf("/proc/self/fd/%d", fd), dir); err != nil {
			return err
		}
	}
	for name, at := range map[string]string{"log": "/var/log", "kubelet": "/var/lib/kubelet", "containerd": "/var/lib/containerd"} {
		source := filepath.Join(c.Dir, name)
		if err := os.MkdirAll(source, 0o755); err != nil {
			return err
		}
		if err := bind(source, at); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/run/lock", "/run/sysctl", "/run/netns"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, value := range tunables {
		if err := pretend(name, value); err != nil {
			return err
		}
	}
	// Volumes with mount propagation need shared mounts; the peers are all
	// inside, since everything became private first.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	return nil
}

// same tells whether the path still leads to the open directory.
func same(fd int, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Stat(path, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

func bind(source, at string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s on %s: %w", source, at, err)
	}
	return nil
}

func pretend(name, value string) error {
	at := filepath.Join("/proc/sys", name)
	if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	file := filepath.Join("/run/sysctl", filepath.Base(name))
	if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(file, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s on %s: %w", file, at, err)
	}
	return nil
}
