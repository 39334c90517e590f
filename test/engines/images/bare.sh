#!/usr/bin/env bash
# Recipe of deep-test/bare: nothing but one static program, no shell, no library, no /etc. What the files named bare say is
# part of the cache key.
# usage: bare.sh ROOT
set -euo pipefail
root=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

command -v go >/dev/null || { echo "building this image needs Go in the PATH" >&2; exit 1; }
cd "$here/bare"
CGO_ENABLED=0 GOOS=linux go build -buildvcs=false -trimpath -ldflags='-s -w' -o "$root/bin/bare" .
