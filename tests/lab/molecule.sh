#!/usr/bin/env bash
# Runs molecule scenarios of extensions/molecule on host h1 of the lab, which is up; called by ./dev and by a test.
# host_evacuation moves VMs to h2, in storage that both share.
#   molecule.sh [SCENARIO...]   all of them when none is named
# Each prints a line with its time; the output of one that failed is shown.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
EXTENSIONS=$(cd "$HERE/../../extensions" && pwd)
LAB_SH=$HERE/lab.sh
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
eval "$("$LAB_SH" env)" # H1_URI, and H2_URI where there is a second host
# shellcheck disable=SC2153  # none of them is a misspelling of another
first=$H1_URI second=${H2_URI-}

cat >"$WORK/catalog.yml" <<YAML
hosts:
  - {name: h1, uri: "$first", virt_type: qemu}
settings:
  cpu_overprovisioning: 20
  memory_overprovisioning: 20
YAML
cat >"$WORK/two.yml" <<YAML
hosts:
  - {name: h1, uri: "$first", virt_type: qemu, pool: shared, shared_pools: [shared], migration_uri: "qemu+tls://h1/system"}
  - {name: h2, uri: "$second", virt_type: qemu, pool: shared, shared_pools: [shared], migration_uri: "qemu+tls://h2/system"}
settings:
  cpu_overprovisioning: 20
  memory_overprovisioning: 20
YAML
cat >"$WORK/hosts.yml" <<YAML
kvm_hosts:
  hosts:
    h1:
      ansible_ssh_common_args: -F $LAB_SSH_CONFIG
      ansible_python_interpreter: /usr/bin/python3
      kvm_host_update_cache: false # no network leads out of the lab
YAML
export ABLESTACK_CATALOG=$WORK/catalog.yml
export ABLESTACK_TEST_KVM_HOSTS=$WORK/hosts.yml ABLESTACK_TEST_KEY=$LAB_KEY ABLESTACK_TEST_SSH_ARGS="-F $LAB_SSH_CONFIG -J h1"
# Molecule keeps its state apart for each run, and takes the collection from where we say.
export XDG_CACHE_HOME=$WORK/cache ANSIBLE_HOME=$WORK/ansible NO_COLOR=1
# To connect includes the exchange of keys, which takes a guest in software emulation seconds.
export ANSIBLE_TIMEOUT=60
unset ANSIBLE_CONFIG

guest() { # IMAGE MEMORY USER
  ABLESTACK_TEST_IMAGE=$(env -u XDG_CACHE_HOME "$LAB_SH" image "$1")
  export ABLESTACK_TEST_IMAGE ABLESTACK_TEST_TEMPLATE=$1 ABLESTACK_TEST_MEMORY=$2 ABLESTACK_TEST_USER=$3
}

run() { # SCENARIO
  local start=$SECONDS
  ABLESTACK_CATALOG=$WORK/catalog.yml
  case $1 in
    host_evacuation)
      [ -n "$second" ] || { echo "molecule: $1: FAILED, the lab has no host h2" && return 1; }
      ABLESTACK_CATALOG=$WORK/two.yml
      ;;
  esac
  case $1 in
    debian) guest debian 512MiB debian ;;
    *) guest tiny 96MiB root ;;
  esac
  if (cd "$EXTENSIONS" && molecule test -s "$1") >"$WORK/log" 2>&1 </dev/null; then
    echo "molecule: $1: ok, $((SECONDS - start)) s"
  else
    cat "$WORK/log"
    echo "molecule: $1: FAILED, $((SECONDS - start)) s"
    return 1
  fi
}

scenarios=("$@")
[ $# -gt 0 ] || mapfile -t scenarios < <(cd "$EXTENSIONS/molecule" && printf '%s\n' */molecule.yml | cut -d/ -f1)
failed=0
for scenario in "${scenarios[@]}"; do
  run "$scenario" || failed=1
done
exit "$failed"
