// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// WriteFiles writes files into a directory, all or none. A directory that does not exist is made for the owner alone
// and appears with all files in it. Files of the same name are refused unless force is set; then each is replaced by a
// rename, and put back where a later one fails. A link in the place of a file is replaced, never followed.
func WriteFiles(dir string, files []File, force bool) (err error) {
	dir = filepath.Clean(dir)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writeNew(dir, files)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	}
	if err := checkVacant(dir, files, force); err != nil {
		return err
	}
	staging, err := os.MkdirTemp(dir, ".signet-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	if err := writeAll(staging, files); err != nil {
		return err
	}
	return replaceAll(staging, dir, files)
}

func writeNew(dir string, files []File) (err error) {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	staging, err := os.MkdirTemp(parent, ".signet-")
	if err != nil {
		return err
	}
	if err := writeAll(staging, files); err != nil {
		return errors.Join(err, os.RemoveAll(staging))
	}
	if err := os.Rename(staging, dir); err != nil {
		return errors.Join(err, os.RemoveAll(staging))
	}
	return nil
}

func checkVacant(dir string, files []File, force bool) error {
	var taken []string
	for _, f := range files {
		info, err := os.Lstat(filepath.Join(dir, f.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.IsDir():
			return fmt.Errorf("%s is a directory", filepath.Join(dir, f.Name))
		default:
			taken = append(taken, f.Name)
		}
	}
	if len(taken) > 0 && !force {
		return fmt.Errorf("%s already has %s; replace with --force", dir, strings.Join(taken, ", "))
	}
	return nil
}

// writeAll writes files into an empty directory that nobody else can enter.
func writeAll(dir string, files []File) error {
	for _, f := range files {
		if err := writeOne(filepath.Join(dir, f.Name), f); err != nil {
			return err
		}
	}
	return nil
}

func writeOne(path string, f File) (err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := out.Write(f.Data); err != nil {
		return err
	}
	return out.Sync()
}

// replaceAll moves files from one directory into another. What was there is kept in the first until all are moved.
func replaceAll(from, to string, files []File) error {
	var undo []func() error
	for _, f := range files {
		source, target, kept := filepath.Join(from, f.Name), filepath.Join(to, f.Name), filepath.Join(from, f.Name+".old")
		err := os.Rename(target, kept)
		switch {
		case err == nil:
			undo = append(undo, func() error { return os.Rename(kept, target) })
		case errors.Is(err, fs.ErrNotExist):
			undo = append(undo, func() error { return removeIfThere(target) })
		}
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(source, target)
		}
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				err = errors.Join(err, undo[i]())
			}
			return err
		}
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
