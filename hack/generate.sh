#!/usr/bin/env bash
# Writes everything that is generated from api/: deepcopy, apply configurations, CRDs. `make generate` runs it; a test
# runs it into a copy and compares. Usage: hack/generate.sh [ROOT OF THE CHECKOUT]
set -euo pipefail
root=$(cd "${1:-$(dirname "$0")/..}" && pwd)
gen=${CONTROLLER_GEN:-"go tool -modfile=$root/tools/go.mod controller-gen"}
cd "$root"
rm -rf api/applyconfiguration
$gen object:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1
$gen applyconfiguration:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1
$gen crd paths=./api/v1alpha1 output:crd:dir=charts/signet/files/crds
gofmt -w api/applyconfiguration
go run -C tools ./picture < docs/picture.txt > docs/picture.svg
