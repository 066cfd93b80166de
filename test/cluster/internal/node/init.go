package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/signet-kafka/signet/test/cluster/internal/link"
)

// File descriptors that the process outside hands to the one inside.
const (
	// FdGo is read: one byte when the outside has moved the process into its
	// control group and connected its network; its end means to give up.
	FdGo = 3
	// FdEvents is written: a line per [Event].
	FdEvents = 4
	// FdLock is held open: the cluster counts as alive while it is.
	FdLock = 5
)

// Enter is the first step inside. It waits for the outside, leaves the host's
// view of control groups, and replaces itself by argv, whose process calls
// [Run]. A cgroup namespace shows as root where the process is when it enters,
// so this cannot be done when the process is made.
func Enter(argv []string) error {
	runtime.LockOSThread()
	// The parent death signal belongs to a thread. It was given to the first
	// one; the thread that executes the next program is this one.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("parent death signal: %w", err)
	}
	outside := os.NewFile(FdGo, "go")
	if n, err := outside.Read(make([]byte, 1)); n != 1 {
		return fmt.Errorf("the process outside is gone: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("new cgroup namespace: %w", err)
	}
	// The thread that was unshared becomes the new program's.
	err := unix.Exec("/proc/self/exe", argv, os.Environ())
	return fmt.Errorf("execute %s: %w", argv[0], err)
}

// Run is the second step: it builds the node out of the Config in file, runs
// its components and returns when one of them ended (an error that names it),
// or on SIGTERM (nil).
func Run(file string) error {
	for _, fd := range []int{FdGo, FdEvents, FdLock} {
		unix.CloseOnExec(fd)
	}
	events := os.NewFile(FdEvents, "events")
	err := run(file, events)
	if err != nil {
		e := Event{Error: err.Error()}
		var failed *componentError
		if errors.As(err, &failed) {
			e.Component = failed.component
		}
		e.Write(events)
	}
	return err
}

func run(file string, events *os.File) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if c.Hostname != "" {
		if err := mounts(c); err != nil {
			return err
		}
		if err := unix.Sethostname([]byte(c.Hostname)); err != nil {
			return fmt.Errorf("set host name: %w", err)
		}
		if err := link.Configure(c.Subnet); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p := newProcesses(filepath.Join(c.Dir, "log"))
	defer p.killAll()
	return p.run(ctx, c, func(format string, args ...any) {
		Event{Message: fmt.Sprintf(format, args...)}.Write(events)
	}, func() { Event{Running: true}.Write(events) })
}
