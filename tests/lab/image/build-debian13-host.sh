#!/usr/bin/env bash
# Builds the root file system of a KVM host with Debian 13's libvirt 11.3 and QEMU 10.0. Root only; 25 s, 430 MB.
#   build-debian13-host.sh FOLDER
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OUT=${1:?FOLDER}
# shellcheck source=/dev/null
. "$HERE/lib.sh"

# The last row is what modules need that run on the host itself.
PACKAGES=libvirt-daemon-system,libvirt-clients,qemu-system-x86,qemu-utils,dnsmasq-base,iproute2,nftables,iptables
PACKAGES+=,openssh-server,ovmf,swtpm,swtpm-tools,ipxe-qemu,procps,kmod
PACKAGES+=,python3-libvirt,python3-netaddr,python3-pycdlib,python3-yaml

rm -rf --one-file-system "$OUT.new"
mmdebstrap --mode=root --variant=minbase --include="$PACKAGES" "${MMDEBSTRAP_SLIM[@]}" \
  trixie "$OUT.new" "deb $(archive Debian) trixie main"
mv "$OUT.new" "$OUT"
