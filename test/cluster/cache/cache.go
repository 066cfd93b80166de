package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Reported intervals: how often a running build says that it lasts, and how
// often a process looks whether another one has finished the same build.
const (
	reportEvery = 15 * time.Second
	lockPoll    = 100 * time.Millisecond
)

// DefaultDir is $SIGNET_CACHE, or the directory signet in the user's cache
// directory ($XDG_CACHE_HOME, ~/.cache).
func DefaultDir() (string, error) {
	if dir := os.Getenv("SIGNET_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache directory: %w (set SIGNET_CACHE)", err)
	}
	return filepath.Join(dir, "signet"), nil
}

// Cache builds things once.
type Cache struct {
	dir    string
	report func(format string, args ...any)
}

// New returns the cache in dir, which is made on first use. report receives a
// line, without its newline, when a build starts, every 15 seconds while it
// lasts, and when it is done; nothing for what is already there.
func New(dir string, report func(format string, args ...any)) *Cache {
	return &Cache{dir: dir, report: report}
}

// Dir is the directory of the cache.
func (c *Cache) Dir() string { return c.dir }

// Build returns the directory that holds the result of build for this key,
// calling build only if no earlier call, of any process, has succeeded. build
// fills the empty directory it is given; when it fails or the process dies,
// nothing of it is ever returned. The key is name, everything in key, the
// version of Go and the platform; a result is for this machine's platform.
func (c *Cache) Build(ctx context.Context, name string, key []string, build func(ctx context.Context, dir string) error) (string, error) {
	entry := filepath.Join(c.dir, name+"-"+hash(name, key))
	if found(entry) {
		return entry, nil
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	unlock, err := c.lock(ctx, name, entry+".lock")
	if err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	defer unlock()
	if found(entry) {
		return entry, nil
	}
	partial := entry + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	if err := os.Mkdir(partial, 0o755); err != nil {
		return "", fmt.Errorf("build %s: %w", name, err)
	}
	c.report("building %s", name)
	start := time.Now()
	stop := c.reportWhile(name, start)
	err = build(ctx, partial)
	stop()
	if err == nil {
		err = os.Rename(partial, entry)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("build %s: %w", name, err), os.RemoveAll(partial))
	}
	c.report("built %s in %s", name, time.Since(start).Round(100*time.Millisecond))
	return entry, nil
}

func (c *Cache) reportWhile(name string, start time.Time) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(reportEvery)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				c.report("still building %s (%s)", name, time.Since(start).Round(time.Second))
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// lock takes the build's lock. The kernel releases it when the process dies, so
// a killed build blocks nobody. Lock files stay: removing one would let two
// processes lock two files of the same name.
func (c *Cache) lock(ctx context.Context, name, file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for waiting := false; ; waiting = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", file, err), f.Close())
		}
		if !waiting {
			c.report("waiting for another process that builds %s", name)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(lockPoll):
		}
	}
}

func found(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// hash gives each part its length, so that no two lists of parts run together
// to the same input.
func hash(name string, key []string) string {
	sum := sha256.New()
	for _, part := range append([]string{name, runtime.Version(), runtime.GOOS, runtime.GOARCH}, key...) {
		_, _ = io.WriteString(sum, strconv.Itoa(len(part))+":"+part)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// Sources returns a hash of the given files and of every file below the given
// directories (names, permission bits and contents), for use in a key. What a
// build writes into its own source directory must not be among them.
func Sources(paths ...string) (string, error) {
	sum := sha256.New()
	for _, root := range slices.Sorted(slices.Values(paths)) {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(filepath.Dir(root), name)
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			f, err := os.Open(name) //nolint:gosec // the user's own sources
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			fmt.Fprintf(sum, "%q %o %d\n", rel, info.Mode().Perm(), info.Size())
			_, err = io.Copy(sum, f)
			return err
		})
		if err != nil {
			return "", fmt.Errorf("hash of sources: %w", err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
