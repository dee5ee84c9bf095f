# shellcheck shell=bash disable=SC2034  # used by the files that source this one
# Where the lab keeps its things, and the few words every other file uses.

# Everything a lab writes is below $LAB/run; another value is another lab, wholly apart from the first.
# Short on purpose: a unix socket's path ends at 107 characters.
LAB=${ABLESTACK_LAB:-/tmp/ablestack-lab}
RUN=$LAB/run
CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/ablestack-kvm-lab
# Networks of the namespaces: nothing outside them ever sees these addresses.
MGMT=10.99.0 SEGMENT=10.98.0
MAX_HOSTS=9

say() { echo "lab: $*" >&2; }
die() {
  say "$*"
  exit 1
}

# Others may pass through to the sockets, and not list what is there.
make_folder() {
  mkdir -p "$1"
  chmod 0711 "$1"
}

check_place() {
  case $LAB in
    /*) ;;
    *) die "ABLESTACK_LAB must be an absolute path: $LAB" ;;
  esac
  # Inside the namespaces these folders are replaced by the host's own, which would hide the lab from itself.
  case $LAB/ in
    /etc/* | /root/* | /run/* | /srv/* | /var/*) die "ABLESTACK_LAB cannot lie below /etc, /root, /run, /srv or /var: $LAB" ;;
  esac
  [ "${#RUN}" -le 60 ] || die "ABLESTACK_LAB is too long for socket paths below it: $LAB"
}

host_names() { seq -f 'h%g' "${1:-$MAX_HOSTS}"; }
host_number() { echo "${1#h}"; }
is_host() { [[ $1 =~ ^h[1-9]$ ]]; }

# The namespace's PID 1, as seen from outside. Its command line must name this lab: a process id can be another
# process's by now, and it is going to be killed.
pid() { # NAME
  local p
  p=$(cat "$RUN/$1/pid" 2>/dev/null) && [ -n "$p" ] || return 1
  grep -qzFx -- "$RUN" "/proc/$p/cmdline" 2>/dev/null || return 1
  echo "$p"
}
alive() { pid "$1" >/dev/null; }

wait_for() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.05
  done
}

# Only one command at a time changes a lab. The folder itself is the lock, so that no lock file outlives a purge.
lock() {
  while :; do
    [ -d "$LAB" ] || make_folder "$LAB"
    [ -O "$LAB" ] || die "$LAB belongs to somebody else"
    exec 9<"$LAB"
    flock 9
    [ "$(stat -c %i "$LAB" 2>/dev/null)" = "$(stat -Lc %i /dev/fd/9)" ] && return
  done
}
