#!/usr/bin/env bash
# Recipe of deep-test/python: a minimal Debian with Python. What this file says is part of the cache key.
# usage: python.sh ROOT SUITE MIRROR
set -euo pipefail
root=$1 suite=$2 mirror=$3

# python3-minimal alone cannot `import json`; libpython3-stdlib adds the standard library and nothing else of weight.
debootstrap --variant=minbase --include=python3-minimal,libpython3-stdlib "$suite" "$root" "$mirror"
chroot "$root" python3 -c 'import hashlib, json, os, re, socket, sqlite3, subprocess, threading'

# Out with what no test reads, and with what says where it was built: the mirror, the resolver, the host's name. Device
# nodes go because every engine mounts a /dev of its own.
cd "$root"
rm -rf ./var/cache/apt/* ./var/lib/apt/lists/* ./var/log/* ./tmp/* ./dev/* ./usr/share/{doc,man,info,locale,lintian}/* \
  ./etc/apt/sources.list ./etc/resolv.conf ./etc/hostname
