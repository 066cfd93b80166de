package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// lockFile serialises Ensure between processes: apt-get fails at once when
// another one holds its list lock.
const lockFile = "/run/lock/signet-apt"

// Ensure installs those of the packages that are missing. report receives a
// line, without its newline, before anything is installed. The error says what
// to do by hand: on a system without apt-get, without root, or when apt-get
// fails (its last lines are part of the error).
func Ensure(ctx context.Context, report func(format string, args ...any), packages ...string) error {
	missing := Missing(ctx, packages...)
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("packages %s are missing and this system has no apt-get: install them (these are Debian's names)", list)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("packages %s are missing: as root, run apt-get install %s", list, list)
	}
	lock, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("install %s: %w", list, err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("install %s: lock %s: %w", list, lockFile, err)
	}
	if missing = Missing(ctx, packages...); len(missing) == 0 {
		return nil
	}
	report("installing Debian packages %s", list)
	// The lists of a fresh image are empty or stale; when the network is down
	// but the package is in apt's own cache, the install still succeeds.
	updateErr := aptGet(ctx, "update")
	args := append([]string{"install", "--yes", "--no-install-recommends"}, missing...)
	if err := aptGet(ctx, args...); err != nil {
		return errors.Join(fmt.Errorf("install %s: %w", list, err), updateErr)
	}
	return nil
}

// Missing returns those of the packages that are not installed, all of them
// where there is no dpkg.
func Missing(ctx context.Context, packages ...string) []string {
	var missing []string
	for _, p := range packages {
		out, err := exec.CommandContext(ctx, "dpkg-query", "--show", "--showformat=${db:Status-Status}", p).Output()
		if err != nil || string(out) != "installed" {
			missing = append(missing, p)
		}
	}
	return missing
}

func aptGet(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"--quiet", "--quiet", "-o", "DPkg::Lock::Timeout=300"}, args...)...)
	// RUNLEVEL=1 makes invoke-rc.d and deb-systemd-invoke leave services alone.
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, tail(out, 10))
	}
	return nil
}

func tail(out []byte, lines int) []byte {
	all := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return bytes.Join(all[max(0, len(all)-lines):], []byte("\n"))
}
