#!/usr/bin/env bash
# Private KVM hosts on one machine, for tests: each has its own namespaces, libvirtd and sshd. See README.md.
#   lab.sh up [N] [--debian13]   bring up the controller and hosts h1..hN (default 2), the last one with Debian 13's
#                            libvirt if so wished; what is up already stays as it is
#   lab.sh down [--purge]    end everything; --purge also removes what the hosts wrote
#   lab.sh status            who is up; fails when nobody is
#   lab.sh ctl CMD...        run CMD on the controller (qemu+ssh://h1/system and qemu+tls://h1/system work there)
#   lab.sh host hN CMD...    run CMD on a host
#   lab.sh crash hN          power cut;     lab.sh start hN    power on again
#   lab.sh openvswitch hN BRIDGE   an Open vSwitch bridge on that host, until it ends (not on a Debian 13 host)
#   lab.sh env               shell variables: connection URIs for processes outside the namespaces, and more
#   lab.sh ssh-config        the file for ssh -F: hosts, and guests behind them
#   lab.sh image tiny|debian [PATH]   the image's path; builds it when it is not in the cache; with PATH, copies it there
# ABLESTACK_LAB (default /tmp/ablestack-lab) is the folder it writes to; another folder is another lab.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
for part in common keys namespace members outside images debian13; do
  # shellcheck source=/dev/null
  . "$HERE/lib/$part.sh"
done

up() { # [N] [--debian13]
  local count=2 newer='' host word
  for word in "$@"; do
    if [ "$word" = --debian13 ]; then newer=1; else count=$word; fi
  done
  [[ $count =~ ^[1-$MAX_HOSTS]$ ]] || die "up takes 1 to $MAX_HOSTS hosts, not '$count'"
  [ "$(id -u)" = 0 ] || die "namespaces and bridges need root"
  is_debian_12 || die "the guests of the lab are built from packages of Debian 12 (bookworm), which this machine has not"
  may_make_hosts || die "root may not make namespaces, mounts and bridges here; a container has to be a privileged one" \
    "(docker run --privileged)"
  [ ! -e "$RUN" ] || [ -e "$RUN/.lab" ] || die "$RUN is not a lab's folder"
  lock
  make_folder "$RUN"
  touch "$RUN/.lab"
  make_keys
  write_ssh_config
  alive ctl || start_controller
  [ -z "$newer" ] || mark_debian13 "h$count"
  for host in $(host_names "$count"); do alive "$host" || start_host "$host"; done
  for host in $(host_names "$count"); do await "$host"; done
  say "up: $(host_names "$count" | xargs)"
}

is_debian_12() { grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release; }
may_make_hosts() { unshare -n -m -p -f sh -c 'mount --bind / / && ip link add probe type bridge' 2>/dev/null; }

start_controller() {
  local host
  # Its bridges joined the hosts: without them they are of no use.
  for host in $(host_names); do end "$host"; done
  spawn ctl _controller
  await ctl
}

start_host() { # hN
  make_certificate "$1" "$MGMT.1$(host_number "$1")"
  spawn "$1" _host
  wire "$1"
}

down() { # [--purge]
  local member
  [ -e "$RUN/.lab" ] || return 0
  lock
  for member in $(host_names) ctl; do end "$member"; done
  [ "${1:-}" = --purge ] || return 0
  # Its mounts went with the namespaces, so that nothing of the machine's is below here.
  rm -rf --one-file-system "$RUN"
  rmdir "$LAB" 2>/dev/null || true
}

status() {
  local member rc=1
  for member in ctl $(host_names); do
    [ -d "$RUN/$member" ] || continue
    if alive "$member"; then
      echo "$member up, process $(pid "$member")"
      rc=0
    else echo "$member down"; fi
  done
  return "$rc"
}

the_host() {
  is_host "${1:-}" || die "no such host: '${1:-}'"
  [ -d "$RUN/$1" ] || die "$1 was never up"
}

usage() {
  sed -n '/^#   /s/^# *//p' "$HERE/lab.sh"
  exit 2
}

check_place
command=${1:-}
[ $# = 0 ] || shift
case $command in
  up) up "$@" ;;
  down) down "$@" ;;
  status) status ;;
  ctl) enter ctl "$@" ;;
  host)
    the_host "${1:-}"
    enter "$@"
    ;;
  crash)
    the_host "${1:-}"
    lock
    end "$1"
    ;;
  start)
    the_host "${1:-}"
    lock
    alive "$1" || start_host "$1"
    await "$1"
    ;;
  openvswitch)
    the_host "${1:-}"
    openvswitch "$@"
    ;;
  env) print_env ;;
  ssh-config) echo "$SSH_CONFIG" ;;
  image) image "$@" ;;
  _controller) run_controller ;;
  _host) run_host "$1" ;;
  _openvswitch) add_openvswitch_bridge "$1" ;;
  *) usage ;;
esac
