#!/usr/bin/env bash
# What `make fuzz` runs: every fuzz target there is, one after the other, each for
# FUZZTIME (5s). What crashes one fails the run, and is kept as a seed beside its
# test: commit it with the fix.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export GOFLAGS="-buildvcs=false"
tags=remote,containers_image_openpgp,exclude_graphdriver_btrfs
fuzztime=${FUZZTIME:-5s}
failed=()

# Each target as its directory, a colon and its name.
mapfile -t targets < <(git ls-files -z --cached --others --exclude-standard '*_test.go' |
  xargs -0 grep -H '^func Fuzz' | sed -E 's|^(.*)/[^/:]*:func (Fuzz[A-Za-z0-9_]*).*|\1:\2|' | sort)
((${#targets[@]})) || { echo 'fuzz: no target found'; exit 1; }

for target in "${targets[@]}"; do
  dir=${target%:*} name=${target##*:} start=$SECONDS
  if out=$(go test -tags "$tags" -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" "./$dir" 2>&1); then
    runs=$(grep -o 'execs: [0-9]*' <<< "$out" | tail -n 1)
    printf 'ok    %-16s %-32s %3ds  %s\n' "$name" "$dir" $((SECONDS - start)) "$runs"
  else
    printf 'FAIL  %-16s %-32s %3ds\n%s\n' "$name" "$dir" $((SECONDS - start)) "$out"
    failed+=("$target")
  fi
done

if ((${#failed[@]})); then
  printf 'fuzz: failed: %s\n' "${failed[*]}"
  exit 1
fi
