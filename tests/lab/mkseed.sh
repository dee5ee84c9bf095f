#!/usr/bin/env bash
# Makes a NoCloud seed image without the product, for tests of the lab itself.
#   mkseed.sh OUT.iso NAME [PUBLIC-KEY-FILE] [MORE-USER-DATA-FILE]
set -euo pipefail
OUT=${1:?OUT.iso} NAME=${2:?NAME}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
printf 'instance-id: iid-%s\nlocal-hostname: %s\n' "$NAME" "$NAME" >"$WORK/meta-data"
{
  echo '#cloud-config'
  [ -z "${3:-}" ] || printf 'ssh_authorized_keys:\n  - %s\n' "$(cat "$3")"
  [ -z "${4:-}" ] || cat "$4"
} >"$WORK/user-data"
printf 'version: 2\nethernets:\n  eth0:\n    dhcp4: true\n' >"$WORK/network-config"
genisoimage -quiet -o "$OUT" -V cidata -J -r "$WORK"
