package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/signet-kafka/signet/test/cluster/cache"
)

// guardPatience is how long a guard gets to take its cluster down by itself.
const guardPatience = 30 * time.Second

// down removes one cluster, running or dead. It reports whether there was
// anything to remove.
func down(ctx context.Context, reg *registry, info Info) error {
	lock, err := reg.tryLock(info.Name)
	if errors.Is(err, errLocked) {
		if lock, err = stopGuard(ctx, reg, info); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	defer reg.unlock(lock)
	return cleanUp(reg, info)
}

// stopGuard asks the guard to end the cluster and returns the cluster's lock
// once every process of it is gone. A guard that was killed already has left a
// dying cluster; one that does not react is killed, and what is inside with it.
func stopGuard(ctx context.Context, reg *registry, info Info) (*os.File, error) {
	inside := filepath.Join(info.Dir, "conf", "node.json")
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		patience := guardPatience
		switch {
		case isCommand(info.Guard, "guard"):
			signalProcess(info.Guard, signal)
		case isCommand(info.Init, inside):
			patience = time.Second
		}
		if signal == unix.SIGKILL && isCommand(info.Init, inside) {
			signalProcess(info.Init, signal)
		}
		limited, cancel := context.WithTimeout(ctx, patience)
		lock, err := reg.lock(limited, info.Name, nil)
		cancel()
		if err == nil || ctx.Err() != nil {
			return lock, err
		}
	}
	return nil, fmt.Errorf("processes of cluster %s (%d, %d) do not end", info.Name, info.Guard, info.Init)
}

// signalProcess sends a signal to a process that may just have ended.
func signalProcess(pid int, signal unix.Signal) { _ = unix.Kill(pid, signal) }

// isCommand tells whether the process is this program, with lastArg as its last
// argument: the number of one that is gone may belong to another by now.
func isCommand(pid int, lastArg string) bool {
	if pid <= 0 {
		return false
	}
	cmdline, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return err == nil && bytes.HasPrefix(cmdline, []byte("cluster\x00")) && bytes.HasSuffix(cmdline, []byte("\x00"+lastArg+"\x00"))
}

// find returns the cluster that --name and --dir mean; fs.ErrNotExist if there
// is none.
func find(reg *registry, name, dir string) (Info, error) {
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return Info{}, err
		}
		return readInfo(abs)
	}
	if err := checkName(name); err != nil {
		return Info{}, err
	}
	info, err := reg.get(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	// After a reboot the list is gone and the directory is not.
	base, err := cache.DefaultDir()
	if err != nil {
		return Info{}, err
	}
	return readInfo(filepath.Join(base, "clusters", name))
}

// downAll removes every cluster of this user.
func downAll(ctx context.Context, reg *registry, p *progress) error {
	names, err := reg.names()
	if err != nil {
		return err
	}
	var failed error
	for _, name := range names {
		info, err := reg.get(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = down(ctx, reg, info)
		}
		if err == nil {
			p.Printf("%s is down", name)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}
