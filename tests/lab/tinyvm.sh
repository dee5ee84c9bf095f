#!/usr/bin/env bash
# Prints the definition of a tiny guest without the product, for tests of the lab itself and for benchmarks.
#   tinyvm.sh NAME DISK [key=value ...]       see the defaults below; net=network:NAME or net=bridge:NAME; fw=bios|uefi
set -euo pipefail
NAME=${1:?NAME} DISK=${2:?DISK}
shift 2
declare -A o=([mem]=96 [vcpus]=1 [net]=network:default [seed]='' [fw]=bios [nvram]='' [machine]=q35 [bus]=virtio [tb]=32
  [format]=qcow2 [cache]=none [mac]='' [uuid]='' [type]=qemu)
for pair in "$@"; do
  [ -n "${o[${pair%%=*}]+known}" ] || {
    echo "tinyvm.sh: unknown key: ${pair%%=*}" >&2
    exit 2
  }
  o[${pair%%=*}]=${pair#*=}
done
firmware=''
if [ "${o[fw]}" = uefi ]; then
  [ "${o[mem]}" != 96 ] || o[mem]=160 # the firmware's own need
  firmware="<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>${o[nvram]:-/var/lib/libvirt/qemu/nvram/$NAME.fd}</nvram>"
fi
# shellcheck disable=SC2016  # quotes of the document, not of the shell
cat <<XML
<domain type='${o[type]}'>
  <name>$NAME</name>${o[uuid]:+<uuid>${o[uuid]}</uuid>}
  <memory unit='MiB'>${o[mem]}</memory>
  <vcpu>${o[vcpus]}</vcpu>
  <os>
    <type arch='x86_64' machine='${o[machine]}'>hvm</type>
    $firmware
    <boot dev='hd'/>
  </os>
  <features><acpi/><apic/><tcg><tb-cache unit='MiB'>${o[tb]}</tb-cache></tcg></features>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='${o[format]}' cache='${o[cache]}' discard='unmap'/>
      <source file='$DISK'/>
      <target dev='vda' bus='${o[bus]}'/>
    </disk>
    <controller type='scsi' model='virtio-scsi' index='0'/>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      ${o[seed]:+<source file='${o[seed]}'/>}
      <target dev='sda' bus='scsi'/>
      <readonly/>
    </disk>
    <interface type='${o[net]%%:*}'>
      ${o[mac]:+<mac address='${o[mac]}'/>}
      <source ${o[net]%%:*}='${o[net]#*:}'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'/>
    <console type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <controller type='usb' model='none'/>
    <memballoon model='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
XML
