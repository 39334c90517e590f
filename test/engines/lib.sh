# shellcheck shell=bash disable=SC2034 # some of the paths are used by one script only
# Shared by up.sh and down.sh: where state is kept, and how a process is remembered.
#
# A pid alone says nothing: it is reused, and /run is not a tmpfs everywhere, so a record may outlive a reboot. A record
# is therefore "PID STARTTIME" (field 22 of /proc/PID/stat), and only a process that matches both is ever signalled.

STATE=$(realpath -m "${DEEP_ENGINES_STATE:-/run/deep-engines}")
DOCKER_SOCK=/var/run/docker.sock
DOCKER_PIDFILE=/var/run/docker.pid
CONTAINERD_PIDFILE=/var/run/docker/containerd/containerd.pid
PODMAN_SOCK=/run/podman/podman.sock
# Known to the tests too, test/registry.
REGISTRY=127.0.0.1:5801
PRIVATE_REGISTRY=127.0.0.1:5802
REGISTRY_DATA=$STATE/registry-data

# A root shell got by `su` has no sbin, where dockerd, runc and debootstrap are.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { printf '%s\n' "$*"; }

fail() {
  printf 'engines: %s\n' "$*" >&2
  exit 1
}

# enter_state makes the state directory and holds its lock on descriptor 9 until the script ends. Whatever outlives the
# script must close 9, or the next run would wait for it for ever.
enter_state() {
  [[ $EUID -eq 0 ]] || fail "needs root: it installs packages and starts daemons on their default sockets"
  mkdir -p "$STATE"
  exec 9>"$STATE/lock"
  flock -n 9 && return
  say "waiting for another run that holds $STATE/lock"
  flock -w 900 9 || fail "another run has held $STATE/lock for 15 minutes"
}

# proc_start prints the start time of a live process; fails when there is none, or only a zombie is left.
proc_start() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The command name may hold spaces and parentheses: count fields from behind its last one.
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != Z ]] || return 1
  printf '%s\n' "${fields[19]}"
}

# pid_is reports whether a process with this pid lives and bears this name.
pid_is() {
  [[ -n $1 && $(cat "/proc/$1/comm" 2>/dev/null) == "$2" ]] && proc_start "$1" >/dev/null
}

# record NAME PID remembers a process as started by us.
record() {
  local start
  start=$(proc_start "$2") || return 1
  printf '%s %s\n' "$2" "$start" >"$STATE/$1.tmp"
  mv "$STATE/$1.tmp" "$STATE/$1"
}

# recorded NAME prints the pid of the process remembered under this name, if that very process still lives.
recorded() {
  local pid start
  read -r pid start 2>/dev/null <"$STATE/$1" || return 1
  [[ $(proc_start "$pid") == "$start" ]] || return 1
  printf '%s\n' "$pid"
}

# docker_api and podman_api name their socket, so that DOCKER_HOST, a docker context or CONTAINER_HOST of the caller
# never sends them elsewhere; the time limit is for an engine that accepts and then says nothing.
docker_api() {
  env -u DOCKER_CONTEXT timeout "${API_TIMEOUT:-120}" docker -H "unix://$DOCKER_SOCK" "$@" 9>&-
}

podman_api() {
  timeout "${API_TIMEOUT:-120}" podman --remote --url "unix://$PODMAN_SOCK" "$@" 9>&-
}

docker_version() {
  [[ -S $DOCKER_SOCK ]] && API_TIMEOUT=5 docker_api version --format '{{.Server.Version}}' 2>/dev/null
}

podman_version() {
  [[ -S $PODMAN_SOCK ]] && API_TIMEOUT=5 podman_api version --format '{{.Server.Version}}' 2>/dev/null
}

# registry_get ADDRESS PATH [OPTION…]
registry_get() {
  local address=$1 path=$2
  shift 2
  curl --silent --noproxy '*' --max-time 10 -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "$@" \
    "http://$address/v2/$path" 9>&-
}

registry_answers() { [[ $(registry_get "$REGISTRY" "" -o /dev/null -w '%{http_code}') == 200 ]]; }

registry_private_answers() { [[ $(registry_get "$PRIVATE_REGISTRY" "" -o /dev/null -w '%{http_code}') == 401 ]]; }
