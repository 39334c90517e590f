#!/usr/bin/env bash
# What `make test` runs: every package under the race detector, then a look for
# anything of ours that was left behind. gotestsum lists failed and skipped tests
# by name at the end.
#
#   DEEP_TEST_REQUIRE=docker,podman,local   a skip for want of one is a failure
#   DEEP_TEST_RERUN=1                       runs a package that failed once more, alone, and says so
set -euo pipefail
cd "$(dirname "$0")/.."
export GOFLAGS="-buildvcs=false"
# The programs `make build` made; tests that need them do not build their own.
export DEEP_TEST_BIN="$PWD/bin"

tags=remote,containers_image_openpgp,exclude_graphdriver_btrfs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

suite() { # log, gotestsum's and go test's flags…
  local log=$1
  shift
  go tool -modfile=tools/go.mod gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg \
    --jsonfile "$log" "$@" -tags "$tags" -race -timeout 15m
}

# The packages that failed, each on a line.
failed() { # log
  grep '"Action":"fail"' "$1" | grep -v '"Test":' | sed 's/.*"Package":"\([^"]*\)".*/\1/' | sort -u
}

go run ./test/leaks > "$work/before" || true

rc=0
suite "$work/log" --packages=./... -- || rc=$?
if ((rc)) && [[ -n ${DEEP_TEST_RERUN:-} ]]; then
  mapfile -t again < <(failed "$work/log")
  if ((${#again[@]})); then
    printf 'failed, and run again one after the other: %s\n' "${again[@]}"
    rc=0
    suite "$work/again" --packages="${again[*]}" -- -p 1 -count=1 || rc=$?
    ((rc)) || printf 'unstable, failed once and passed alone: %s\n' "${again[@]}"
  fi
fi

go run ./test/leaks -known "$work/before" -wait 60s || rc=1
exit "$rc"
