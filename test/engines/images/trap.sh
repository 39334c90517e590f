#!/usr/bin/env bash
# Recipe of deep-test/trap: busybox, and what leaves a mark in /tmp if it is ever run. What the files named trap say is part
# of the cache key.
# usage: trap.sh ROOT
set -euo pipefail
root=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

bash "$here/busybox.sh" "$root"
mkdir -p "$root"/{trap,data,cache}
printf '%s\n' '#!/bin/sh' 'touch /tmp/entrypoint-ran' 'exec "$@"' >"$root/trap/entrypoint"
printf '%s\n' '#!/bin/sh' 'touch /tmp/healthcheck-ran' >"$root/trap/healthcheck"
chmod 0755 "$root"/trap/*
