#!/usr/bin/env bash
# Stops exactly the daemons that up.sh started and that still run; nothing when it started nothing. What the registries
# held goes with them. Packages, images and the cache stay, so the next up.sh takes seconds. Containers of docker end with
# their daemon (those of a dockerd that was killed, when the next one starts); those of podman have no daemon and live on.
set -euo pipefail
# shellcheck source=test/engines/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# wait_gone NAME SECONDS
wait_gone() {
  local deadline=$((SECONDS + $2))
  while recorded "$1" >/dev/null; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# stop NAME GRACE sends TERM, and KILL after GRACE seconds.
stop() {
  local pid
  if ! pid=$(recorded "$1"); then
    rm -f "$STATE/$1"
    return
  fi
  kill -TERM "$pid" 2>/dev/null || true
  if wait_gone "$1" "$2"; then
    say "$1: stopped (pid $pid)"
  else
    kill -KILL "$pid" 2>/dev/null || true
    wait_gone "$1" 5 || fail "$1: pid $pid survived SIGKILL; see $STATE/$1.log"
    say "$1: killed (pid $pid): it did not end within $2 s of SIGTERM"
  fi
  rm -f "$STATE/$1"
  stopped=yes
}

enter_state
stopped=
stop registry 10
stop registry_private 10
stop podman 10
# dockerd gives its containers 10 s to end, and takes its containerd along, even when killed (parent-death signal).
stop dockerd 40
rm -rf "$REGISTRY_DATA"
[[ -n $stopped ]] || say "nothing to stop: no engine here was started by up.sh"
