// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package cli

import (
	"errors"
	"os"
	"runtime"
)

// tryLock refuses: a directory is kept by locks and links as Unix has them.
func tryLock(*os.File) (busy bool, err error) {
	return false, errors.New("sign --dir and renew do not work on " + runtime.GOOS + "; use sign --csr")
}
