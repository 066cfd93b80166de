// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Command picture draws the diagram that it reads, in characters, as SVG.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/bep/goat"
)

func main() {
	var drawn bytes.Buffer
	goat.BuildAndWriteSVG(os.Stdin, &drawn)
	// Legible on a dark page, too.
	page := bytes.Replace(drawn.Bytes(), []byte("<g "), []byte(`<rect width="100%" height="100%" fill="white"/><g `), 1)
	if _, err := os.Stdout.Write(page); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}
