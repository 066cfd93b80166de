package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func newCache(t *testing.T) (*Cache, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var lines []string
	c := New(filepath.Join(t.TempDir(), "cache"), func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, fmt.Sprintf(format, args...))
	})
	return c, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return lines
	}
}

func write(content string) func(context.Context, string) error {
	return func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, "out"), []byte(content), 0o644)
	}
}

func TestBuildsOncePerKey(t *testing.T) {
	c, lines := newCache(t)
	seen := map[string]bool{}
	for _, key := range [][]string{{"v1"}, {"v2"}, {"v", "1"}, {"v1", ""}} {
		for range 2 {
			dir, err := c.Build(t.Context(), "thing", key, write(strings.Join(key, "|")))
			if err != nil {
				t.Fatal(err)
			}
			seen[dir] = true
			got, err := os.ReadFile(filepath.Join(dir, "out"))
			if err != nil || string(got) != strings.Join(key, "|") {
				t.Errorf("key %q: %q, %v", key, got, err)
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d directories for 4 keys", len(seen))
	}
	if got := len(lines()); got != 8 {
		t.Errorf("%d progress lines for 4 builds, want a start and an end each: %q", got, lines())
	}
}

func TestConcurrentCallersShareOneBuild(t *testing.T) {
	c, _ := newCache(t)
	var built atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := c.Build(t.Context(), "thing", nil, func(_ context.Context, dir string) error {
				built.Add(1)
				return os.WriteFile(filepath.Join(dir, "out"), nil, 0o644)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := built.Load(); n != 1 {
		t.Errorf("built %d times", n)
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	c, _ := newCache(t)
	broken := errors.New("compiler says no")
	_, err := c.Build(t.Context(), "thing", nil, func(ctx context.Context, dir string) error {
		return errors.Join(write("half")(ctx, dir), broken)
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "build thing: ") {
		t.Fatalf("error %v", err)
	}
	left, err := os.ReadDir(c.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if !strings.HasSuffix(e.Name(), ".lock") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
	if _, err := c.Build(t.Context(), "thing", nil, write("whole")); err != nil {
		t.Errorf("after a failure: %v", err)
	}
}

// A killed build leaves its partial directory and its lock file.
func TestBuildAfterKilledBuild(t *testing.T) {
	if dir := os.Getenv("CACHE_TEST_DIE_IN"); dir != "" {
		c := New(dir, t.Logf)
		_, _ = c.Build(t.Context(), "thing", nil, func(ctx context.Context, dir string) error {
			if err := write("half")(ctx, dir); err != nil {
				return err
			}
			self, err := os.FindProcess(os.Getpid())
			if err != nil {
				return err
			}
			return self.Kill()
		})
		return
	}
	c, _ := newCache(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestBuildAfterKilledBuild$")
	cmd.Env = append(os.Environ(), "CACHE_TEST_DIE_IN="+c.Dir())
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Fatalf("the child survived: %s", out)
	}
	dir, err := c.Build(t.Context(), "thing", nil, func(_ context.Context, dir string) error {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 0 {
			return fmt.Errorf("not empty: %v, %w", left, err)
		}
		return write("whole")(t.Context(), dir)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "out")); err != nil || string(got) != "whole" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWaiterGivesUpWithItsContext(t *testing.T) {
	c, lines := newCache(t)
	started, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.Build(t.Context(), "thing", nil, func(ctx context.Context, dir string) error {
			close(started)
			<-finish
			return write("x")(ctx, dir)
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Build(ctx, "thing", nil, write("y")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	close(finish)
	wg.Wait()
	if !strings.Contains(strings.Join(lines(), "\n"), "waiting for another process that builds thing") {
		t.Errorf("no line says what it waits for: %q", lines())
	}
}

func TestSources(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "src", "main.go")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	sum := func() string {
		t.Helper()
		s, err := Sources(filepath.Join(dir, "src"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(file, []byte("package main\n"), 0o644))
	first := sum()
	if sum() != first {
		t.Error("the same tree has two hashes")
	}
	must(os.WriteFile(file, []byte("package other\n"), 0o644))
	changed := sum()
	must(os.Chmod(file, 0o755))
	mode := sum()
	must(os.WriteFile(file+"x", nil, 0o644))
	if added := sum(); first == changed || changed == mode || mode == added {
		t.Error("a change of content, mode or file list left the hash the same")
	}
	if _, err := Sources(filepath.Join(dir, "none")); err == nil {
		t.Error("a missing source gave no error")
	}
}
