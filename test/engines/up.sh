#!/usr/bin/env bash
# Brings up what the tests with real engines need, as far as it is missing: the packages, dockerd and podman's API
# service on their default sockets, two registries, and four images made without any registry, in both engines:
#
#   deep-test/busybox:1   a static busybox and its applets, users root and nobody
#   deep-test/python:1    this release of Debian, minimal, with python3 and its standard library
#   deep-test/bare:1      one static program and nothing else, images/bare
#   deep-test/trap:1      busybox, with settings that a sandbox must not take over, images/trap.changes
#
# The registries are Debian's docker-registry twice, one store with two doors, on the loopback interface and without TLS.
# Docker takes such a one there; podman does not, and tests put a proxy with TLS in between. They hold deep-test/busybox:1.
#
#   127.0.0.1:5801   lets anybody in, to push too
#   127.0.0.1:5802   lets in the user deep-test, password deep-test-no-secret, to pull only
#
# Made for a fresh Debian host with root and a package mirror. An engine that already answers is used as it is. Safe to
# run again (about a second when nothing is missing) and to run twice at once. down.sh stops what this one started.
#
#   DEEP_ENGINES_STATE   pids, logs and the lock; /run/deep-engines
#   DEEP_CACHE_DIR       finished root file systems, one tarball each; /var/cache/deep-test
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/engines/lib.sh
source "$HERE/lib.sh"

CACHE=$(realpath -m "${DEEP_CACHE_DIR:-/var/cache/deep-test}")
STARTUP_SECONDS=60
changed=

# --- packages ---------------------------------------------------------------------------------------------------------

# need COMMAND PACKAGE puts the package on the list when the command is not there.
need() { command -v "$1" >/dev/null || missing+=("$2"); }

list_missing() {
  missing=()
  # A docker client alone is no engine: dockerd is what counts.
  need dockerd docker.io
  need docker docker.io
  need podman podman
  need runc runc
  need debootstrap debootstrap
  need newuidmap uidmap
  need iptables iptables
  need docker-registry docker-registry
  need curl curl
  # The dynamic busybox of the package of that name starts in no empty image.
  [[ -x /bin/busybox ]] && ! ldd /bin/busybox &>/dev/null || missing+=(busybox-static)
  # With AppArmor in the kernel, docker refuses to start a container when it cannot load its profile.
  if [[ $(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) == Y ]]; then need apparmor_parser apparmor; fi
}

run_apt() {
  [[ $1 != update ]] || rm -f "$STATE/apt.log"
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" \
    >>"$STATE/apt.log" 2>&1 </dev/null 9>&- && return
  tail -n 20 "$STATE/apt.log" >&2
  fail "apt-get $1 failed; all of it is in $STATE/apt.log"
}

install_packages() {
  local missing
  list_missing
  if ((${#missing[@]} == 0)); then
    say "packages: all here"
    return
  fi
  command -v apt-get >/dev/null || fail "no apt-get here; install by hand: ${missing[*]}"
  say "packages: installing ${missing[*]}"
  run_apt update
  # Newer Debian has the client in a package of its own, which docker.io merely recommends.
  if ! command -v docker >/dev/null && [[ -n $(apt-cache search -n '^docker-cli$') ]]; then missing+=(docker-cli); fi
  run_apt install --no-install-recommends "${missing[@]}"
  # The package's own service would listen to all the world, on another port than ours.
  if [[ " ${missing[*]} " == *" docker-registry "* && -d /run/systemd/system ]]; then
    systemctl disable --quiet --now docker-registry.service
  fi
  list_missing
  ((${#missing[@]} == 0)) || fail "still missing after the installation: ${missing[*]}"
}

# --- daemons ----------------------------------------------------------------------------------------------------------

# launch NAME COMMAND… starts a daemon that outlives this script and holds none of its descriptors, and records it.
launch() {
  local name=$1 pid
  shift
  [[ ! -f $STATE/$name.log ]] || mv "$STATE/$name.log" "$STATE/$name.log.old"
  # Without job control setsid execs in place, so that $! is the daemon itself.
  (cd / && exec setsid nohup "$@" </dev/null >"$STATE/$name.log" 2>&1 9>&-) &
  pid=$!
  disown "$pid"
  record "$name" "$pid" || fail_with_log "$name" "it ended at once"
  changed=yes
}

fail_with_log() {
  [[ ! -f $STATE/$1.log ]] || tail -n 20 "$STATE/$1.log" >&2
  fail "$1: $2; its log is $STATE/$1.log"
}

# await NAME PID VERSION_FUNCTION waits until the engine answers, its process ends, or time is up.
await() {
  local name=$1 pid=$2 version=$3 deadline=$((SECONDS + STARTUP_SECONDS))
  until "$version" >/dev/null; do
    proc_start "$pid" >/dev/null || fail_with_log "$name" "pid $pid ended before it answered"
    ((SECONDS < deadline)) || fail_with_log "$name" "pid $pid does not answer after $STARTUP_SECONDS s"
    sleep 0.2
  done
}

# clear_stale_pid FILE COMMAND removes a pid file whose process is gone, or whose pid is somebody else's by now: dockerd
# takes any live process named there for another dockerd and refuses to start, or for its containerd and waits for it.
clear_stale_pid() {
  local pid
  [[ -f $1 ]] || return 0
  pid=$(cat "$1")
  if pid_is "$pid" "$2"; then return; fi
  say "$2: clearing the stale pid file $1 (pid $pid)"
  rm -f "$1"
}

# clear_stale_socket removes a socket file on which nobody listens; one that is held, yet silent, belongs to somebody.
clear_stale_socket() {
  [[ -S $1 ]] || return 0
  # Whoever bound it may have written /run for /var/run.
  if sed 's#/var/run/#/run/#' /proc/net/unix | grep -q " ${1#/var}\$"; then
    fail "a process holds $1 but does not answer there; end it, or see why it is stuck"
  fi
  rm -f "$1"
}

start_docker() {
  local pid
  pid=$(cat "$DOCKER_PIDFILE" 2>/dev/null || true)
  if pid_is "$pid" dockerd; then
    # Somebody's dockerd, perhaps on its way up.
    await dockerd "$pid" docker_version
    return
  fi
  clear_stale_pid "$DOCKER_PIDFILE" dockerd
  clear_stale_pid "$CONTAINERD_PIDFILE" containerd
  clear_stale_socket "$DOCKER_SOCK"
  # No flags: socket and pid file are its defaults, and a flag would clash with the same key in a daemon.json.
  launch dockerd dockerd
  pid=$(recorded dockerd) || fail_with_log dockerd "it ended at once"
  await dockerd "$pid" docker_version
}

start_podman() {
  local pid
  if pid=$(recorded podman); then
    await podman "$pid" podman_version
    return
  fi
  clear_stale_socket "$PODMAN_SOCK"
  mkdir -p "$(dirname "$PODMAN_SOCK")"
  # runc, because crun, which podman prefers where both are installed, refuses hosts with both cgroup versions mounted
  # ("cgroups in hybrid mode not supported", 1.8.1). Deliberately no containers.conf with default limits: without
  # CAP_SYS_RESOURCE a container created without nofile and nproc limits then fails here as it does for a user.
  launch podman podman --runtime runc system service --time=0 "unix://$PODMAN_SOCK"
  pid=$(recorded podman) || fail_with_log podman "it ended at once"
  await podman "$pid" podman_version
}

# bring_up NAME DAEMON SOCKET
bring_up() {
  local version pid
  version=$("$1_version") || "start_$1"
  [[ -n $version ]] || version=$("$1_version") || fail "$1: answered once, and then no more at $3"
  if pid=$(recorded "$2"); then
    say "$1: $version at unix://$3, started by us (pid $pid)"
  else
    say "$1: $version at unix://$3, found running"
  fi
}

# --- registries -------------------------------------------------------------------------------------------------------

# start_registry NAME ADDRESS VARIABLE=VALUE…
start_registry() {
  local name=$1 address=$2 pid
  shift 2
  if ! pid=$(recorded "$name"); then
    mkdir -p "$REGISTRY_DATA"
    # A copy: the registry reads it again and again, and may outlive this checkout.
    install -m 0600 "$HERE/registry/htpasswd" "$REGISTRY_DATA/htpasswd"
    launch "$name" env REGISTRY_HTTP_ADDR="$address" REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="$REGISTRY_DATA/store" \
      "$@" docker-registry serve "$HERE/registry/$name.yml"
    pid=$(recorded "$name") || fail_with_log "$name" "it ended at once"
  fi
  await "$name" "$pid" "${name}_answers"
}

# bring_up_registry NAME ADDRESS VARIABLE=VALUE…
bring_up_registry() {
  local pid
  "${1}_answers" || start_registry "$@"
  if pid=$(recorded "$1"); then
    say "$1: at http://$2, started by us (pid $pid)"
  else
    say "$1: at http://$2, found running"
  fi
}

# fill_registry pushes deep-test/busybox:1, which docker has by now.
fill_registry() {
  local there=$REGISTRY/deep-test/busybox:1 id
  id=$(docker_api image inspect --format '{{.Id}}' deep-test/busybox:1)
  # The manifest names the image's id.
  if registry_get "$REGISTRY" deep-test/busybox/manifests/1 2>/dev/null | grep -q "$id"; then
    say "image $there: there"
    return
  fi
  docker_api tag deep-test/busybox:1 "$there"
  docker_api push --quiet "$there" >/dev/null || fail "docker cannot push $there; see $STATE/registry.log"
  docker_api rmi "$there" >/dev/null
  say "image $there: pushed"
}

# --- images -----------------------------------------------------------------------------------------------------------

host_codename() { (. /etc/os-release && printf '%s\n' "${VERSION_CODENAME:-}"); }

# apt_mirror SUITE prints the first mirror from which apt itself takes that suite, so no host name is written here.
apt_mirror() {
  # shellcheck disable=SC2016 # apt expands these, not the shell
  apt-get indextargets --format '$(CREATED_BY) $(COMPONENT) $(CODENAME) $(RELEASE) $(REPO_URI)' 9>&- |
    awk -v suite="$1" '$1 == "Packages" && $2 == "main" && ($3 == suite || $4 == suite) && !found++ { print $5 }'
}

find_mirror() {
  local mirror
  mirror=$(apt_mirror "$1")
  if [[ -z $mirror ]]; then
    # The lists may have been deleted to save room, as images for builds do.
    run_apt update
    mirror=$(apt_mirror "$1")
  fi
  [[ -n $mirror ]] || fail "apt has no source for the suite '$1'"
  printf '%s\n' "$mirror"
}

# use_apt_proxy gives debootstrap, which reads the environment only, the proxy of apt's configuration.
use_apt_proxy() {
  local proxy=
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  if [[ -n $proxy && $proxy != DIRECT ]]; then export http_proxy=$proxy; fi
  proxy=
  eval "$(apt-config shell proxy Acquire::https::Proxy)"
  if [[ -n $proxy && $proxy != DIRECT ]]; then export https_proxy=$proxy; fi
}

# recipe_args NAME prints what a recipe needs besides its root directory.
recipe_args() {
  [[ $1 == python ]] || return 0
  host_codename
  find_mirror "$(host_codename)"
}

# recipe_files NAME prints the files a recipe is made of, its script first.
recipe_files() {
  printf '%s\n' "$HERE/images/$1.sh"
  find "$HERE/images" \( -path "$HERE/images/$1.changes" -o -path "$HERE/images/$1/*" \) -type f | sort
}

# recipe_key NAME changes when the recipe does, or the machine's architecture or release.
recipe_key() {
  local files
  mapfile -t files < <(recipe_files "$1")
  { cat "${files[@]}" && uname -m && host_codename; } | sha256sum | cut -c1-16
}

# changes NAME prints the settings of an image, as in a Dockerfile.
changes() {
  if [[ -f $HERE/images/$1.changes ]]; then
    cat "$HERE/images/$1.changes"
    return
  fi
  printf '%s\n' 'CMD ["/bin/sh"]' 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
}

# build_tarball NAME TARBALL runs the recipe in a fresh directory; the finished tarball appears under its name whole or
# not at all, whatever interrupts the build.
build_tarball() (
  local work args
  work=$(mktemp -d "$CACHE/build.XXXXXX")
  # --one-file-system: debootstrap mounts /proc in there, and a build that was interrupted may leave it.
  trap 'umount -l "$work"/root/{proc,sys} 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
  trap 'exit 130' INT TERM HUP
  mkdir -m 0755 "$work/root"
  args=$(recipe_args "$1")
  mapfile -t args <<<"$args"
  use_apt_proxy
  if ! bash "$HERE/images/$1.sh" "$work/root" "${args[@]}" >"$STATE/build-$1.log" 2>&1 </dev/null 9>&-; then
    tail -n 20 "$STATE/build-$1.log" >&2
    fail "image $1: the build failed; all of it is in $STATE/build-$1.log"
  fi
  tar -C "$work/root" --numeric-owner --sort=name -cf "$work/tar" .
  mv "$work/tar" "$2"
)

# cached_tarball NAME KEY sets $tarball, and builds it when the cache has none.
cached_tarball() {
  tarball=$CACHE/$1-$2.tar
  if [[ -f $tarball ]]; then return; fi
  mkdir -p "$CACHE"
  # What a killed build left behind; a day old, since a run with another state directory, and lock, may share the cache.
  find "$CACHE" -maxdepth 1 -name 'build.*' -mmin +1440 -exec rm -rf --one-file-system {} +
  say "image deep-test/$1:1: building the root file system"
  build_tarball "$1" "$tarball"
}

# has_image ENGINE IMAGE KEY reports whether the engine has the image, made by this recipe.
has_image() {
  local label
  label=$("$1_api" image inspect --format '{{index .Config.Labels "deep-test.recipe"}}' "$2" 2>/dev/null) || return 1
  [[ $label == "$3" ]]
}

import_image() {
  local engine=$1 name=$2 key=$3 image=deep-test/$2:1 old change args=()
  old=$("${engine}_api" image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)
  if [[ $engine == podman ]] && changes "$name" | grep -q '^HEALTHCHECK'; then
    # Podman takes no health check when it imports, but keeps that of an image of docker's, which it names localhost/.
    docker_api save "$image" | podman_api load >/dev/null
    podman_api tag "localhost/$image" "$(full_name podman "$image")"
    podman_api untag "localhost/$image" "localhost/$image"
  else
    while read -r change; do args+=(--change "$change"); done < <(changes "$name")
    "${engine}_api" import --change "LABEL deep-test.recipe=$key" "${args[@]}" "$tarball" "$(full_name "$engine" "$image")" >/dev/null
  fi
  # Its predecessor has lost its name; where a container still uses it, it stays.
  [[ -z $old ]] || "${engine}_api" rmi "$old" &>/dev/null || true
}

# full_name ENGINE IMAGE: by a short name docker always means docker.io/, and podman's own API finds it there too. Given
# a short name to import, podman would put localhost/ before it, where nobody who writes docker.io/ out finds it.
full_name() {
  case $1 in
    docker) printf '%s\n' "$2" ;;
    podman) printf 'docker.io/%s\n' "$2" ;;
  esac
}

ensure_image() {
  local name=$1 key tarball engine state=()
  key=$(recipe_key "$name")
  for engine in docker podman; do
    if has_image "$engine" "deep-test/$name:1" "$key"; then
      state+=("$engine has it")
      continue
    fi
    cached_tarball "$name" "$key"
    import_image "$engine" "$name" "$key"
    changed=yes
    state+=("imported into $engine")
  done
  say "image deep-test/$name:1: ${state[0]}, ${state[1]}"
}

# --- proof ------------------------------------------------------------------------------------------------------------

# prove_start runs one container on each engine. Podman asks for limits above ours by itself, and without
# CAP_SYS_RESOURCE that is refused; 1024 is below the hard limit everywhere.
prove_start() {
  local podman_limits=(--ulimit nofile=1024:1024 --ulimit nproc=1024:1024)
  docker_api run --rm --network none deep-test/busybox:1 true || fail "docker: a container does not start"
  podman_api run --rm --network none "${podman_limits[@]}" deep-test/busybox:1 true ||
    fail "podman: a container does not start"
  say "a container starts and ends on each engine"
}

enter_state
install_packages
bring_up docker dockerd "$DOCKER_SOCK"
bring_up podman podman "$PODMAN_SOCK"
bring_up_registry registry "$REGISTRY"
bring_up_registry registry_private "$PRIVATE_REGISTRY" REGISTRY_AUTH_HTPASSWD_PATH="$REGISTRY_DATA/htpasswd"
ensure_image busybox
ensure_image python
ensure_image bare
ensure_image trap
fill_registry
[[ -z $changed ]] || prove_start
