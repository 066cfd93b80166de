#!/usr/bin/env bash
# Checks the form of everything: gofmt, go vet, golangci-lint (pinned in tools/lint), and known vulnerabilities of
# dependencies (govulncheck, pinned in tools; it needs the vulnerability database, and says so where it cannot be had).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
modules=(. images test/cluster test/stepca)
# The build tags of tests that need something built first; see test/run.
tags=kafka,verifiers,stepca,mesh

unformatted=$(cd "$root" && git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
  printf 'not gofmt-ed:\n%s\n' "$unformatted"
  exit 1
fi
lint=$(cd "$root/tools/lint" && go tool -n golangci-lint)
vulnerabilities=$(cd "$root/tools" && go tool -n govulncheck)
for module in "${modules[@]}"; do
  echo "== $module"
  cd "$root/$module"
  go vet -tags="$tags" ./...
  "$lint" run --config "$root/.golangci.yml" --build-tags="$tags" ./...
  if [ "$module" = . ]; then
    # The filter's edge is compiled for Envoy only.
    GOOS=wasip1 GOARCH=wasm go vet ./filter/...
    GOOS=wasip1 GOARCH=wasm "$lint" run --config "$root/.golangci.yml" ./filter/wasm
  fi
  status=0
  "$vulnerabilities" -tags="$tags" ./... || status=$?
  case $status in
    0) ;;
    3) exit 3 ;; # vulnerabilities were found
    *) echo "govulncheck could not run (exit code $status): see above" ;;
  esac
done
