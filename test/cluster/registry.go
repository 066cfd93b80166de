package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/signet-kafka/signet/test/cluster/cache"
)

// registry knows this user's clusters: NAME.json describes one, and NAME.lock
// is locked for as long as a process of it lives. The kernel drops the lock
// with the last process, however that died.
type registry struct{ dir string }

// openRegistry makes the directory where root's clusters, or this user's, are
// listed.
func openRegistry() (*registry, error) {
	dir := "/run/signet-cluster"
	if os.Geteuid() != 0 {
		base, err := cache.DefaultDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(base, "run")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("list of clusters: %w", err)
	}
	return &registry{dir: dir}, nil
}

func (r *registry) file(name string) string { return filepath.Join(r.dir, name+".json") }

// get returns the description of a cluster that is listed; fs.ErrNotExist when
// none of that name is.
func (r *registry) get(name string) (Info, error) {
	var info Info
	raw, err := os.ReadFile(r.file(name))
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(raw, &info); err != nil {
		return info, fmt.Errorf("%s: %w", r.file(name), err)
	}
	return info, nil
}

// names lists clusters, dead ones included, in alphabetical order.
func (r *registry) names() ([]string, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list of clusters: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// remove takes a cluster off the list, and the list away when it was the last.
func (r *registry) remove(name string) error {
	if err := os.Remove(r.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list of clusters: %w", err)
	}
	return nil
}

// errLocked means that another process holds the lock.
var errLocked = errors.New("locked by another process")

// tryLock takes the named lock or returns errLocked.
func (r *registry) tryLock(name string) (*os.File, error) {
	path := filepath.Join(r.dir, name+".lock")
	for {
		// Whoever removes the last cluster removes the directory, too.
		if err := os.MkdirAll(r.dir, 0o755); err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			closeQuietly(f)
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, errLocked
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The file may have been removed between opening and locking it.
		held, err := f.Stat()
		if err != nil {
			closeQuietly(f)
			return nil, fmt.Errorf("lock: %w", err)
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(held, now) {
			return f, nil
		}
		closeQuietly(f)
	}
}

// lock waits for the named lock; waiting is called once if it must.
func (r *registry) lock(ctx context.Context, name string, waiting func()) (*os.File, error) {
	for first := true; ; first = false {
		f, err := r.tryLock(name)
		if !errors.Is(err, errLocked) {
			return f, err
		}
		if first && waiting != nil {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// unlock releases a lock and removes its file, in this order of effect: whoever
// opened the old file notices that it is no longer the one of that name.
func (r *registry) unlock(f *os.File) {
	_ = os.Remove(f.Name())
	_ = f.Close()
	// Succeeds when nothing else is listed.
	_ = os.Remove(r.dir)
}

// alive tells whether a process of the cluster lives.
func (r *registry) alive(name string) bool {
	f, err := os.Open(filepath.Join(r.dir, name+".lock"))
	if err != nil {
		return false
	}
	defer closeQuietly(f)
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

var nameRule = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)

func checkName(name string) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("cluster name %q: must be 1 to 40 lower-case letters, digits or dashes, with no dash at either end", name)
	}
	return nil
}
