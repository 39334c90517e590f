#!/usr/bin/env bash
# What `make lint` checks. Every check runs, so that one run tells all.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export GOFLAGS="-buildvcs=false"
tags=remote,containers_image_openpgp,exclude_graphdriver_btrfs
failed=()

check() { # name, command…
  local name=$1 start=$SECONDS
  shift
  if "$@"; then
    printf 'ok    %-14s %ds\n' "$name" $((SECONDS - start))
  else
    printf 'FAIL  %-14s %ds\n' "$name" $((SECONDS - start))
    failed+=("$name")
  fi
}

formatted() {
  local out
  out=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l) || return 1
  [[ -z $out ]] || { printf 'not formatted, try gofmt -w:\n%s\n' "$out"; return 1; }
}

generated() {
  command -v protoc >/dev/null || { echo 'protoc is missing: apt-get install protobuf-compiler'; return 1; }
  local out
  out=$(mktemp -d) || return 1
  ./core/proto/generate.sh "$out" && diff -r -q --exclude='*.proto' --exclude='*.sh' "$out/core/proto" core/proto
  local rc=$?
  rm -rf "$out"
  ((rc == 0)) || echo 'the generated code is stale, try: make generate'
  return "$rc"
}

scripts() {
  command -v shellcheck >/dev/null || { echo 'shellcheck is missing: apt-get install shellcheck'; return 1; }
  git ls-files -z --cached --others --exclude-standard '*.sh' .ci/run | xargs -0 shellcheck -x -P . -S warning
}

tidy() { go mod tidy -diff; }

check gofmt formatted
check tidy tidy
check generated generated
check shellcheck scripts
check vet go vet -tags "$tags" ./...
check golangci-lint go tool -modfile=tools/go.mod golangci-lint run --timeout 20m ./...

if ((${#failed[@]})); then
  printf 'lint: failed: %s\n' "${failed[*]}"
  exit 1
fi
