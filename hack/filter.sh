#!/usr/bin/env bash
# Builds Signet's filter for Envoy. `make filter` runs it. Usage: hack/filter.sh [OUTPUT, default dist/filter.wasm]
set -euo pipefail
output=$(realpath -m "${1:-$(dirname "$0")/../dist/filter.wasm}")
cd "$(dirname "$0")/.."
mkdir -p "$(dirname "$output")"
GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 go build -trimpath -buildmode=c-shared -ldflags='-s -w' -o "$output" ./filter/wasm
echo "$output"
