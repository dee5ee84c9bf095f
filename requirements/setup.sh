# shellcheck shell=bash
# Installs what the project's commands need: Debian packages and the virtual environment. Sourced by ./dev.
# Both steps look at what is there first, so that a second run costs a few milliseconds.

# A line when a slow step starts, and one with its seconds when it is done; its output only when it fails.
step() { # TITLE COMMAND...
  local title=$1 start=$SECONDS log rc=0
  shift
  log=$(mktemp)
  echo "dev: $title ..." >&2
  "$@" >"$log" 2>&1 </dev/null || rc=$?
  if [ "$rc" -ne 0 ]; then
    tail -n 60 "$log" >&2
    echo "dev: $title failed (exit $rc)" >&2
  else
    echo "dev: $title: done in $((SECONDS - start)) s" >&2
  fi
  rm -f "$log"
  return "$rc"
}

packages_in() { sed 's/#.*//' "$@" | xargs -rn1 | sort -u; }

apt_install() { # PACKAGE...
  local policy=/usr/sbin/policy-rc.d made='' rc=0
  # The lab starts its own daemons in its own namespaces: the machine's must stay off. A machine that brings
  # its own policy keeps it.
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1; }
  export DEBIAN_FRONTEND=noninteractive
  # Another apt may be at work (unattended upgrades, another clone's set-up): wait for its lock.
  { apt-get -q -o DPkg::Lock::Timeout=300 update &&
    apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"; } || rc=$?
  [ -z "$made" ] || rm -f "$policy"
  return "$rc"
}

ensure_packages() { # LIST-FILE...
  local missing
  command -v dpkg-query >/dev/null || {
    echo "dev: not a Debian system; install the packages named in $* yourself" >&2
    return 0
  }
  # shellcheck disable=SC2046  # a list of names
  missing=$(comm -23 <(packages_in "$@") <(dpkg-query -Wf '${Package} ${db:Status-Status}\n' $(packages_in "$@") 2>/dev/null |
    sed -n 's/ installed$//p' | sort -u) | xargs)
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] || {
    echo "dev: not root, cannot install: $missing" >&2
    return 1
  }
  # shellcheck disable=SC2086  # a list of names
  step "installing Debian packages: $missing" apt_install $missing
}

# The interpreter for .venv: 3.11 is the newest that both Debian 12 and ansible-core 2.19 have; else any that will do.
# Its real path, never a version manager's shim, which would depend on the folder it is called in.
find_python() {
  local name
  for name in python3.11 /usr/bin/python3.11 python3 /usr/bin/python3 python3.13 python3.12; do
    "$name" -c 'import sys, ensurepip, venv
assert (3, 11) <= sys.version_info < (3, 14)
print(sys._base_executable)' 2>/dev/null && return
  done
  echo "dev: no Python 3.11 to 3.13 with the venv module found" >&2
  return 1
}

make_venv() { # FOLDER REQUIREMENTS-FILE
  local venv=$1 python
  # An environment that works is brought up to date in place: somebody may be at work in it.
  "$venv/bin/python" -m pip --version || {
    python=$(find_python)
    "$python" -m venv --clear "$venv"
  }
  "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$2"
  "$venv/bin/python" -c 'import ansible, libvirt'
}

ensure_venv() { # ROOT
  local root=$1 venv=$1/.venv want
  # Keyed on its place too: a moved or copied environment has the old place in its scripts.
  want=$(cat "$root"/requirements.txt "$root"/requirements/*.txt <(echo "$venv") | sha256sum)
  [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$want" ] && [ -x "$venv/bin/python" ] && return 0
  [ "$(cat "$venv/.place" 2>/dev/null)" = "$venv" ] || rm -rf "$venv"
  # set -e is off in a function called on the left of && or ||, hence a shell of its own
  # shellcheck disable=SC2016  # expanded there
  step "making .venv from requirements/dev.txt" \
    flock "$root/requirements/dev.txt" bash -euo pipefail -c '. "$1"; make_venv "$2" "$3"' _ \
    "$root/requirements/setup.sh" "$venv" "$root/requirements/dev.txt"
  echo "$venv" >"$venv/.place"
  echo "$want" >"$venv/.stamp"
}
