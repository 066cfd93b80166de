package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/signet-kafka/signet/test/cluster/debian"
)

// debianTree returns a directory with the files of the Debian packages and of what they depend on, without what the
// packages in except bring. No maintainer script runs, so nothing needs root and nothing on the machine changes.
// Packages are this machine's release and architecture, as newly built binaries and the JDK on it are.
func (b builder) debianTree(ctx context.Context, name string, packages, except []string) (string, error) {
	release, err := os.ReadFile("/etc/debian_version")
	if err != nil {
		return "", fmt.Errorf("the root file systems of images come from Debian's packages, and this system is not Debian: %w", err)
	}
	key := slices.Concat([]string{"tree 1", string(release)}, packages, []string{"except"}, except)
	return b.cache.Build(ctx, "debian-"+name, key, func(ctx context.Context, dir string) error {
		wanted, err := dependencies(ctx, packages)
		if err != nil {
			return err
		}
		unwanted := maintainerOnly()
		if len(except) > 0 {
			below, err := dependencies(ctx, except)
			if err != nil {
				return err
			}
			unwanted = append(unwanted, below...)
		}
		wanted = slices.DeleteFunc(wanted, func(p string) bool { return slices.Contains(unwanted, p) })
		return extract(ctx, wanted, dir)
	})
}

// maintainerOnly are packages that others depend on only for their installation scripts.
func maintainerOnly() []string {
	return []string{"debconf", "debianutils", "dpkg", "netbase", "perl-base", "tar"}
}

// dependencies returns the packages and everything they need, sorted. Package lists are fetched when there are none.
func dependencies(ctx context.Context, packages []string) ([]string, error) {
	args := append([]string{"depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
		"--no-replaces", "--no-enhances"}, packages...)
	out, err := output(ctx, "", "apt-cache", args...)
	if err != nil {
		if _, updateErr := output(ctx, "", "apt-get", "update", "--quiet"); updateErr != nil {
			return nil, errors.Join(err, updateErr)
		}
		if out, err = output(ctx, "", "apt-cache", args...); err != nil {
			return nil, err
		}
	}
	return parseDependencies(out), nil
}

// parseDependencies returns the packages in the output of apt-cache depends --recurse, sorted: they start at the
// margin, while their dependencies are indented and virtual packages stand in <brackets>.
func parseDependencies(out string) []string {
	var all []string
	for line := range strings.Lines(out) {
		if name := strings.TrimRight(line, "\n"); name != "" && !strings.ContainsAny(name[:1], " |<") {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// extract downloads the packages and unpacks them into dir, without documentation.
func extract(ctx context.Context, packages []string, dir string) (err error) {
	archives, err := os.MkdirTemp("", "signet-debian-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(archives)) }()
	// Without the sandbox user apt can write into a directory that only we may enter.
	args := append([]string{"download", "--quiet", "--option", "APT::Sandbox::User=root"}, packages...)
	if _, err := output(ctx, archives, "apt-get", args...); err != nil {
		return fmt.Errorf("download of %s: %w", strings.Join(packages, " "), err)
	}
	files, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return err
	}
	if len(files) != len(packages) {
		return fmt.Errorf("apt-get downloaded %d files for the %d packages %s", len(files), len(packages), strings.Join(packages, " "))
	}
	for _, file := range files {
		if _, err := output(ctx, "", "dpkg-deb", "--extract", file, dir); err != nil {
			return err
		}
	}
	for _, useless := range []string{"doc", "man", "locale", "lintian", "bash-completion", "gdb"} {
		if err := os.RemoveAll(filepath.Join(dir, "usr", "share", useless)); err != nil {
			return err
		}
	}
	return nil
}

// javaModules are what Kafka's broker and clients need of the JDK. java.desktop is there for java.beans, which log4j's
// configuration uses.
const javaModules = "java.base,java.desktop,java.logging,java.management,java.naming,java.net.http,java.security.jgss," +
	"java.security.sasl,java.sql,java.xml,jdk.crypto.ec,jdk.management,jdk.net,jdk.unsupported,jdk.zipfs"

// jre returns the directory of a Java runtime made by jlink from the JDK on this machine.
func (b builder) jre(ctx context.Context) (string, error) {
	if err := b.requireTools(ctx, map[string]string{"jlink": "openjdk-17-jdk-headless", "javac": "openjdk-17-jdk-headless"}); err != nil {
		return "", err
	}
	version, err := output(ctx, "", "jlink", "--version")
	if err != nil {
		return "", err
	}
	dir, err := b.cache.Build(ctx, "jre", []string{version, javaModules}, func(ctx context.Context, dir string) error {
		_, err := output(ctx, "", "jlink", "--add-modules", javaModules, "--strip-java-debug-attributes",
			"--no-header-files", "--no-man-pages", "--output", filepath.Join(dir, "jre"))
		return err
	})
	return filepath.Join(dir, "jre"), err
}

// requireTools installs the Debian packages of those programs that are not on the PATH.
func (b builder) requireTools(ctx context.Context, packageOf map[string]string) error {
	var missing []string
	for program, name := range packageOf {
		if _, err := exec.LookPath(program); err != nil && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return debian.Ensure(ctx, b.report, missing...)
}

// output runs a program in dir and returns its standard output. The error holds what it printed last.
func output(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "GOWORK=off")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stdout.String() + stderr.String())
		return "", fmt.Errorf("%s: %w\n%s", program, err, said[max(0, len(said)-2000):])
	}
	return stdout.String(), nil
}
