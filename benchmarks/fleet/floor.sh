#!/usr/bin/env bash
# The floor: what qemu-img and virsh need for the same work on N VMs, P at a time. Runs on a host.
#   floor.sh LAB_SCRIPTS deploy|deploy-ours|virt-install|stop|remove N P DEFINITION
set -euo pipefail
export SCRIPTS=$1 DEFINITION=$5
cd /srv/default

lab-definition() {
  "$SCRIPTS/tinyvm.sh" "$1" "/srv/default/$1.qcow2" "seed=/srv/default/$1.iso"
}
our-definition() {
  sed "s/@NAME@/$1/g" "$DEFINITION"
}
deploy() {
  qemu-img create -q -f qcow2 -b /srv/default/halt.qcow2 -F qcow2 "$1.qcow2"
  "$SCRIPTS/mkseed.sh" "$1.iso" "$1" >/dev/null
  "${2:-lab-definition}" "$1" >"/tmp/$1.xml"
  virsh -q define "/tmp/$1.xml"
  virsh -q start "$1"
  rm "/tmp/$1.xml"
}
deploy-ours() {
  deploy "$1" our-definition
}
# A seed is left out, which spares it work. Where several make their disks themselves, they find the pool busy.
virt-install() {
  qemu-img create -q -f qcow2 -b /srv/default/halt.qcow2 -F qcow2 "$1.qcow2"
  command virt-install -q --connect qemu:///system --virt-type qemu --name "$1" --memory 96 --vcpus 1 --import \
    --noautoconsole --osinfo detect=off,require=off --network network=default,model=virtio --graphics none \
    --disk "path=/srv/default/$1.qcow2,format=qcow2,bus=virtio"
}
stop() {
  virsh -q destroy "$1"
}
remove() {
  virsh -q undefine "$1"
  rm -f "$1.qcow2" "$1.iso"
}
export -f lab-definition our-definition deploy deploy-ours virt-install stop remove
seq -f 'floor%.0f' "$3" | xargs -P "$4" -I{} bash -c "set -e; $2 {}"
