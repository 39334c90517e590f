#!/usr/bin/env bash
# What `make test` runs: every package under the race detector, then a look for
# anything of ours that was left behind. gotestsum lists failed and skipped tests
# by name at the end.
#
#   DEEP_TEST_REQUIRE=docker,podman,local   a skip for want of one is a failure
#   DEEP_TEST_RERUNS=1                      runs a failed test once more, and says so
set -euo pipefail
cd "$(dirname "$0")/.."
export GOFLAGS="-buildvcs=false"
# The programs `make build` made; tests that need them do not build their own.
export DEEP_TEST_BIN="$PWD/bin"

tags=remote,containers_image_openpgp,exclude_graphdriver_btrfs
reruns=()
if [[ -n ${DEEP_TEST_RERUNS:-} ]]; then
  reruns=(--rerun-fails="$DEEP_TEST_RERUNS" --rerun-fails-max-failures=20)
fi

before=$(mktemp)
trap 'rm -f "$before"' EXIT
go run ./test/leaks > "$before" || true

rc=0
go tool -modfile=tools/go.mod gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg \
  "${reruns[@]}" --packages=./... -- -tags "$tags" -race -timeout 15m || rc=$?

go run ./test/leaks -known "$before" -wait 60s || rc=1
exit "$rc"
