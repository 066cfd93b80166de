// Package images builds OCI images without a container engine: static
// binaries, single files, directory trees and tar files become layers, layers
// and a configuration become an image, and any number of images become one OCI
// archive that `ctr images import`, skopeo and podman read.
//
// It decides what a layer's entries look like (sorted, owned by 0:0, one fixed
// modification time, no device nodes), so that the same input gives the same
// digest on every machine and in every run. It never talks to a registry, never
// runs a container and never needs root.
package images
