package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/signet-kafka/signet/test/cluster/internal/plan"
)

// running is a set of processes under test.
type running struct {
	mu     sync.Mutex
	lines  []string
	up     chan struct{}
	result chan error
	cancel context.CancelFunc
	logs   string
}

func start(t *testing.T, list ...plan.Component) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{up: make(chan struct{}), result: make(chan error, 1), cancel: cancel, logs: t.TempDir()}
	p := newProcesses(r.logs)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer p.killAll()
		r.result <- p.run(ctx, Config{Dir: r.logs, Components: list}, func(format string, args ...any) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lines = append(r.lines, fmt.Sprintf(format, args...))
		}, func() { close(r.up) })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return r
}

func shell(name, script string) plan.Component {
	return plan.Component{Name: name, Path: "/bin/sh", Args: []string{"-c", script}}
}

// All of it is one test, in sequence: a process can only have one reaper.
func TestProcesses(t *testing.T) {
	t.Run("a component that ends is named with its log", func(t *testing.T) {
		r := start(t, shell("good", "exec sleep 1000"), shell("bad", "echo broken configuration; exit 3"))
		err := <-r.result
		var failed *componentError
		if !errors.As(err, &failed) || failed.component != "bad" || !strings.Contains(err.Error(), "ended with exit code 3") {
			t.Errorf("error %v, want one about bad and its exit code", err)
		}
		log, err := os.ReadFile(filepath.Join(r.logs, "bad.log"))
		if err != nil || string(log) != "broken configuration\n" {
			t.Errorf("log %q, %v", log, err)
		}
	})
	t.Run("a component that does not exist", func(t *testing.T) {
		r := start(t, plan.Component{Name: "missing", Path: "/nonexistent/program"})
		if err := <-r.result; err == nil || !strings.HasPrefix(err.Error(), "missing: ") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("late ones wait until the others serve", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "s")
		early := shell("early", "exec sleep 1000")
		early.Ready = "socket:" + socket
		late := shell("late", "exec sleep 1000")
		late.Late = true
		r := start(t, early, late)
		if _, err := os.Stat(filepath.Join(r.logs, "late.log")); err == nil {
			t.Error("late was started before early was ready")
		}
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		select {
		case <-r.up:
		case err := <-r.result:
			t.Fatal(err)
		}
		r.mu.Lock()
		if got := strings.Join(r.lines, ", "); got != "early ready, late started" {
			t.Errorf("reported %q", got)
		}
		r.mu.Unlock()
		r.cancel()
		if err := <-r.result; err != nil {
			t.Errorf("asked to end: %v", err)
		}
	})
	t.Run("one that dies while it is waited for", func(t *testing.T) {
		c := shell("early", "exit 1")
		c.Ready = "socket:" + filepath.Join(t.TempDir(), "never")
		r := start(t, c)
		if err := <-r.result; err == nil || !strings.Contains(err.Error(), "early: ended with exit code 1") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a killed component says by which signal", func(t *testing.T) {
		r := start(t, shell("victim", "kill -9 $$"))
		if err := <-r.result; err == nil || !strings.Contains(err.Error(), "victim: ended by signal "+unix.SIGKILL.String()) {
			t.Errorf("error %v", err)
		}
	})
}
