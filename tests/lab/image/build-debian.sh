#!/usr/bin/env bash
# Builds the Debian 12 guest: minbase, cloud kernel, the real cloud-init, guest agent, OpenSSH; boots under BIOS and UEFI.
# Root only (a chroot), and no loop device.
#   build-debian.sh OUT.qcow2 [VIRTUAL-SIZE]        (default 3G)
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OUT=${1:?OUT.qcow2} SIZE=${2:-3G}
WORK=$(mktemp -d)
trap 'rm -rf --one-file-system "$WORK"' EXIT
# shellcheck source=/dev/null
. "$HERE/lib.sh"

R=$WORK/root X=$WORK/unpacked K=$WORK/kernel
PACKAGES=systemd-sysv,dbus,udev,cloud-init,cloud-guest-utils,fdisk,qemu-guest-agent,openssh-server,iproute2,sudo,e2fsprogs,kmod,netbase,iputils-ping,acpid
LOADERS="busybox-static syslinux-common syslinux systemd-boot-efi"
# Timers and services that only cost boot time here, where each second is ten of a real machine's.
MASKED="apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer
 logrotate.timer systemd-timesyncd.service systemd-networkd-wait-online.service getty@tty1.service console-getty.service
 cloud-init-hotplugd.socket systemd-pstore.service systemd-binfmt.service"

MAIN=$(archive Debian)
SECURITY=$(archive Debian-Security)

kernel=$(kernel_package) version=${kernel#linux-image-}
# shellcheck disable=SC2086  # lists of names
{
  fetch "$kernel" $LOADERS
  unpack "$X" $LOADERS
}
unpack "$K" "$kernel"
/sbin/depmod -b "$K" "$version"

install_system() {
  local sources=("deb $MAIN bookworm main" "deb $MAIN bookworm-updates main")
  [ -z "$SECURITY" ] || sources+=("deb $SECURITY bookworm-security main")
  mmdebstrap --mode=root --variant=minbase --include="$PACKAGES" "${MMDEBSTRAP_SLIM[@]}" bookworm "$R" "${sources[@]}"
}

# The kernel's modules without its package: no initramfs is wanted. And only those that a guest can use.
install_modules() {
  local modules=$R/usr/lib/modules/$version folder
  cp -a "$K/lib/modules" "$R/usr/lib/"
  for folder in infiniband gpu media staging target nvme net/ethernet net/wireless scsi/mpt3sas md xen hv iio usb; do
    rm -rf "$modules/kernel/drivers/$folder"
  done
  rm -rf "$modules/kernel/sound"
  /sbin/depmod -b "$R" "$version"
}

configure() {
  echo debian >"$R/etc/hostname"
  : >"$R/etc/machine-id"
  rm -f "$R"/etc/ssh/ssh_host_* "$R/var/lib/dbus/machine-id"
  echo 'LABEL=debian-root / ext4 rw,relatime,errors=remount-ro 0 1' >"$R/etc/fstab"
  # Only the modules that a test can see: each costs a fraction of a second in software emulation.
  cat >"$R/etc/cloud/cloud.cfg.d/90-lab.cfg" <<CONF
datasource_list: [NoCloud, None]
apt: {preserve_sources_list: true}
system_info: {network: {renderers: [networkd]}}
cloud_init_modules: [migrator, seed_random, bootcmd, write-files, growpart, resizefs, disk_setup, mounts, set_hostname,
  update_hostname, update_etc_hosts, users-groups, ssh]
cloud_config_modules: [set-passwords, timezone, runcmd]
cloud_final_modules: [scripts-vendor, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user,
  final-message, power-state-change]
ssh_genkeytypes: [ed25519]
CONF
  mkdir -p "$R/etc/systemd/system.conf.d"
  printf '[Manager]\nDefaultTimeoutStartSec=180\n' >"$R/etc/systemd/system.conf.d/lab.conf"
  systemctl --root="$R" enable systemd-networkd ssh qemu-guest-agent
  # shellcheck disable=SC2086
  systemctl --root="$R" mask $MASKED
}

slim() {
  rm -rf "$R"/var/lib/apt/lists/* "$R"/var/cache/apt/archives/*.deb "$R"/var/cache/apt/*.bin "$R"/var/log/*.log \
    "$R"/usr/share/{locale,doc,man}/*
  # Compiled here once rather than on every first boot.
  chroot "$R" python3 -m compileall -q /usr/lib/python3 >/dev/null || true
}

install_system
install_modules
configure
slim
make_initrd "$X/bin/busybox" "$K" "$version" "$WORK/initrd.img"
mib=$(($(du -sm --apparent-size "$R" | cut -f1) * 115 / 100 + 60))
# The initrd leaves growing to cloud-init.
make_disk debian 44454249 "$R" "$mib" "$X" "$K/boot/vmlinuz-$version" "$WORK/initrd.img" \
  "root=LABEL=debian-root lab.label=debian-root lab.nogrow rw $KERNEL_OPTIONS systemd.show_status=0" "$OUT" "$SIZE" -m 1
ls -l "$OUT"
du -sh "$R"
