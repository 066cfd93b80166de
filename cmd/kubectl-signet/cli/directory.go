// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A client's directory that sign and renew keep looks like this:
//
//	tls.crt        -> current/tls.crt, and so each file
//	current        -> .signet/set-1234
//	.signet/set-1234/   one complete set
//	.signet/lock
//
// A new set is written beside the old one and put in force by renaming one link over another, which is atomic: at every
// instant all names lead into the same complete set, after a crash as well. Renaming file by file would leave moments, or
// after a crash hours, with the old certificate and the new key, which a client that just then starts cannot use. What is
// left is a reader that opens tls.crt before that instant and tls.key after it. Kafka's Java client reads key and chain
// from one file, keystore.pem, for which there is no such moment; who reads two files resolves the link current once, or
// tries again, as with the volumes of Kubernetes, which work the same way. The former set stays until the next change, for
// those who resolved the link before it. The directory itself changes exactly once for each new set, so that whoever
// watches it (a systemd.path unit) is woken once, and never by half of it.
const (
	privateDir  = ".signet"
	currentLink = "current"
	setPrefix   = "set-"
)

// maxSetFiles bounds what is read of a set that is there.
const maxSetFiles = 64

// errNoSet is what ReadSet says of a directory that holds no set.
var errNoSet = errors.New("holds no credentials that kubectl signet sign wrote")

// ReadSet returns the files of the set in force, by name.
func ReadSet(dir string) (map[string][]byte, error) {
	target, err := os.Readlink(filepath.Join(dir, currentLink))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s %w", dir, errNoSet)
	case err != nil:
		return nil, err
	case filepath.Dir(target) != privateDir || !strings.HasPrefix(filepath.Base(target), setPrefix):
		return nil, fmt.Errorf("%s leads to %q, which is none of its sets: it was not made by kubectl signet sign", filepath.Join(dir, currentLink), target)
	}
	set := filepath.Join(dir, target)
	entries, err := os.ReadDir(set)
	if err != nil {
		return nil, err
	}
	if len(entries) > maxSetFiles {
		return nil, fmt.Errorf("%s has more than %d files", set, maxSetFiles)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = readFile(filepath.Join(set, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Publish puts a new set in force: all of it, or, where it fails, none. The caller holds the directory's lock. Files of
// the same names that are no links are replaced, others are left alone.
func Publish(dir string, files []File) (err error) {
	private := filepath.Join(dir, privateDir)
	previous, err := os.Readlink(filepath.Join(dir, currentLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	staging, err := os.MkdirTemp(private, setPrefix)
	if err != nil {
		return err
	}
	undo := []string{staging}
	defer func() {
		for _, path := range undo {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}()
	if err := writeAll(staging, files); err != nil {
		return err
	}
	if err := syncDir(staging); err != nil {
		return err
	}
	// Names that are not taken come first: of a new directory they lead nowhere until all of them lead to the set.
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := relink(dir, f.Name, filepath.Join(currentLink, f.Name)); err != nil {
			return err
		}
		undo = append(undo, path)
	}
	target := filepath.Join(privateDir, filepath.Base(staging))
	if err := relink(dir, currentLink, target); err != nil {
		return err
	}
	undo = nil
	// The new set is in force. What follows tidies up.
	return errors.Join(tidyLinks(dir, files), prune(private, filepath.Base(target), filepath.Base(previous)), syncDir(dir))
}

// relink makes dir/name a link to target, in place of whatever file is there, by one rename.
func relink(dir, name, target string) error {
	temporary := filepath.Join(dir, privateDir, "link")
	if err := removeIfThere(temporary); err != nil {
		return err
	}
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}

// tidyLinks makes links of the set's names where there were files, such as those of export, and removes links that lead
// to files that are no longer in the set.
func tidyLinks(dir string, files []File) error {
	wanted := map[string]bool{}
	for _, f := range files {
		wanted[f.Name] = true
		target := filepath.Join(currentLink, f.Name)
		if is, err := os.Readlink(filepath.Join(dir, f.Name)); err == nil && is == target {
			continue
		}
		if err := relink(dir, f.Name, target); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if is, err := os.Readlink(path); err != nil || is != filepath.Join(currentLink, e.Name()) || wanted[e.Name()] {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// prune removes all sets but those to keep, what a run that was killed left as well.
func prune(private string, keep ...string) error {
	entries, err := os.ReadDir(private)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), setPrefix) || slices.Contains(keep, e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(private, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// claim makes a directory, if need be, and locks it against other runs. release undoes the lock, and the directory where
// it was made here and nothing was put into it.
func claim(dir string) (release func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	err = os.Mkdir(dir, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory", dir)
	case info.Mode().Perm()&0o002 != 0:
		return nil, fmt.Errorf("%s can be written by everybody, who could replace the key: chmod o-w %s", dir, dir)
	}
	unlock, err := lock(dir)
	if err != nil {
		if made {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return nil, err
	}
	return func() error {
		_, err := os.Lstat(filepath.Join(dir, currentLink))
		if made && errors.Is(err, fs.ErrNotExist) {
			// Nothing in it but the lock; should there be anything else, it stays.
			private := filepath.Join(dir, privateDir)
			return errors.Join(os.Remove(filepath.Join(private, lockFile)), os.Remove(private), os.Remove(dir), unlock())
		}
		return unlock()
	}, nil
}

const lockFile = "lock"

// lock takes the lock of a directory that exists. It does not wait, and it ends with the process, however that ends.
func lock(dir string) (unlock func() error, err error) {
	private := filepath.Join(dir, privateDir)
	if err := os.Mkdir(private, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(private, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	busy, err := tryLock(file)
	if err == nil && busy {
		err = fmt.Errorf("another kubectl signet is at work on %s", dir)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file.Close, nil
}
