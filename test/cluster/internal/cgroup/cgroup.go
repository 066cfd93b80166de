package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Hierarchy is one mounted control group file system.
type Hierarchy struct {
	// Path is its mount point.
	Path string
	// Controllers are the mount options that name a version 1 hierarchy, for
	// example "cpu,cpuacct" or "name=systemd"; empty for version 2.
	Controllers string
}

// Hierarchies returns what is mounted below /sys/fs/cgroup, outermost first.
func Hierarchies() ([]Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	defer func() { _ = f.Close() }()
	return parse(f)
}

// parse reads mountinfo(5): fields 5 is the mount point; after " - " come type,
// source and the options of the file system.
func parse(r io.Reader) ([]Hierarchy, error) {
	var list []Hierarchy
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		mount, fsys := strings.Fields(left), strings.Fields(right)
		if !ok || len(mount) < 5 || len(fsys) < 3 || !strings.HasPrefix(mount[4], "/sys/fs/cgroup") {
			continue
		}
		switch fsys[0] {
		case "cgroup2":
			list = append(list, Hierarchy{Path: mount[4]})
		case "cgroup":
			var names []string
			for o := range strings.SplitSeq(fsys[2], ",") {
				if o != "rw" && o != "ro" && o != "xattr" && o != "clone_children" && !strings.HasPrefix(o, "release_agent=") {
					names = append(names, o)
				}
			}
			list = append(list, Hierarchy{Path: mount[4], Controllers: strings.Join(names, ",")})
		}
	}
	slices.SortFunc(list, func(a, b Hierarchy) int { return strings.Compare(a.Path, b.Path) })
	return list, lines.Err()
}

// Create makes the subtree name in every hierarchy and moves the process there.
func Create(name string, pid int) error {
	list, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range list {
		dir := filepath.Join(h.Path, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cgroup: %w", err)
		}
		if slices.Contains(strings.Split(h.Controllers, ","), "cpuset") {
			// A new cpuset is empty and accepts no process.
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				value, err := os.ReadFile(filepath.Join(h.Path, file))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, file), value, 0o644)
				}
				if err != nil {
					return fmt.Errorf("cgroup: %w", err)
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return fmt.Errorf("cgroup %s: move process: %w", dir, err)
		}
	}
	return nil
}

// Remove removes the subtree name from every hierarchy. Its processes must be
// dead; the kernel may take a moment to notice, which Remove waits for.
func Remove(name string, patience time.Duration) error {
	list, err := Hierarchies()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for _, h := range list {
		dir := filepath.Join(h.Path, name)
		for {
			err := removeTree(dir)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("cgroup: %w", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// removeTree removes directories, innermost first: their files are the kernel's
// and go with them.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

// Mount mounts the hierarchies again, on an empty /sys/fs/cgroup, as the
// calling process's cgroup namespace shows them.
func Mount(list []Hierarchy) error {
	for _, h := range list {
		if err := os.MkdirAll(h.Path, 0o755); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		kind := "cgroup"
		if h.Controllers == "" {
			kind = "cgroup2"
		}
		if err := unix.Mount("cgroup", h.Path, kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, h.Controllers); err != nil {
			return fmt.Errorf("mount %s on %s: %w", kind, h.Path, err)
		}
		if err := linkControllers(h); err != nil {
			return err
		}
		if kind == "cgroup2" && h.Path == "/sys/fs/cgroup" {
			if err := delegate(h.Path); err != nil {
				return err
			}
		}
	}
	return nil
}

// linkControllers gives hierarchies of several controllers the further names
// that programs look for: cpu and cpuacct beside cpu,cpuacct.
func linkControllers(h Hierarchy) error {
	base := filepath.Base(h.Path)
	if !strings.Contains(base, ",") {
		return nil
	}
	for name := range strings.SplitSeq(base, ",") {
		if err := os.Symlink(base, filepath.Join(filepath.Dir(h.Path), name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	return nil
}

// delegate hands every controller of a version 2 root down to its children.
// The root may then hold no process itself ("no internal processes",
// cgroup-v2.rst), so the caller moves below it first.
func delegate(root string) error {
	system := filepath.Join(root, "system")
	if err := os.Mkdir(system, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cgroup: %w", err)
	}
	if err := os.WriteFile(filepath.Join(system, "cgroup.procs"), []byte("0"), 0o644); err != nil {
		return fmt.Errorf("cgroup: move below the root: %w", err)
	}
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	for c := range strings.FieldsSeq(string(controllers)) {
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+c), 0o644); err != nil {
			return fmt.Errorf("cgroup: delegate %s: %w", c, err)
		}
	}
	return nil
}
