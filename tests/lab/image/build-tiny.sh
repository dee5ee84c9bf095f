#!/usr/bin/env bash
# Builds the tiny guest: Debian's cloud kernel, busybox, the guest agent and an SSH server; boots under BIOS and UEFI.
#   build-tiny.sh OUT.qcow2 [VIRTUAL-SIZE]        (default 1G)
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OUT=${1:?OUT.qcow2} SIZE=${2:-1G}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# shellcheck source=/dev/null
. "$HERE/lib.sh"

X=$WORK/unpacked R=$WORK/root K=$WORK/kernel
PROGRAMS="busybox-static qemu-guest-agent dropbear-bin e2fsprogs openssh-sftp-server"
LIBRARIES="libc6 libgcc-s1 libcrypt1 zlib1g libtomcrypt1 libtommath1 libglib2.0-0 libpcre2-8-0 libnuma1 libudev1 liburing2
 libext2fs2 libcom-err2 libblkid1 libuuid1 libgmp10"
LOADERS="syslinux-common syslinux systemd-boot-efi"
MODULES="virtio_pci virtio_blk virtio_net virtio_console virtio_balloon virtio_scsi virtio-rng virtio_mem virtio_input
 sd_mod sr_mod ata_piix isofs vfat nls_ascii nls_iso8859-1 nls_utf8 nls_cp437 button evdev i6300esb crc32c-intel 8021q
 virtiofs 9p 9pnet_virtio vmw_vsock_virtio_transport tpm_tis tpm_crb xfs"

kernel=$(kernel_package) version=${kernel#linux-image-}
# shellcheck disable=SC2086  # lists of names
{
  fetch "$kernel" $PROGRAMS $LIBRARIES $LOADERS
  unpack "$X" $PROGRAMS $LIBRARIES $LOADERS
}
unpack "$K" "$kernel"
/sbin/depmod -b "$K" "$version"

needed() { readelf -d "$1" 2>/dev/null | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p'; }

# The programs' shared libraries, followed through the unpacked packages.
copy_libraries() { # NAME...
  local name file
  for name in "$@"; do
    [ -e "$R/lib/x86_64-linux-gnu/$name" ] && continue
    file=$(find "$X" -name "$name" | head -1)
    [ -n "$file" ] || {
      echo "no package here has $name" >&2
      exit 1
    }
    install -m755 "$(readlink -f "$file")" "$R/lib/x86_64-linux-gnu/$name"
    # shellcheck disable=SC2046
    copy_libraries $(needed "$R/lib/x86_64-linux-gnu/$name")
  done
}

make_root() {
  local name folder
  mkdir -p "$R"/{bin,sbin,lib/x86_64-linux-gnu,lib64,etc/dropbear,proc,sys,dev,run,tmp,root,home,mnt,boot,usr,var/log,var/lib/cloud}
  for folder in bin sbin lib lib64; do ln -s "../$folder" "$R/usr/$folder"; done
  ln -s ../run "$R/var/run"
  ln -s ../run/lock "$R/var/lock"
  chmod 1777 "$R/tmp"
  chmod 700 "$R/root"

  cp "$X/bin/busybox" "$R/bin/busybox"
  for name in $("$X/bin/busybox" --list | grep -vxE 'busybox|dpkg|dpkg-deb|rpm'); do ln -s busybox "$R/bin/$name"; done
  for name in init mount umount ip modprobe getty udhcpc hwclock poweroff reboot; do ln -s ../bin/busybox "$R/sbin/$name"; done
  for name in qemu-ga resize2fs e2fsck dropbear; do
    install -m755 "$(find "$X" -path "*bin/$name" -type f | head -1)" "$R/sbin/$name"
  done
  install -m755 "$(find "$X" -path '*bin/dropbearkey' -type f | head -1)" "$R/bin/"
  mkdir -p "$R/usr/lib/openssh"
  install -m755 "$X/usr/lib/openssh/sftp-server" "$R/usr/lib/openssh/"
  ln -s openssh/sftp-server "$R/usr/lib/sftp-server" # where dropbear looks for it
  # shellcheck disable=SC2046
  copy_libraries $(for name in "$R"/sbin/{qemu-ga,resize2fs,e2fsck,dropbear} "$R/bin/dropbearkey" \
    "$R/usr/lib/openssh/sftp-server"; do needed "$name"; done) libnss_files.so.2
  install -m755 "$(readlink -f "$(find "$X" -name ld-linux-x86-64.so.2 | head -1)")" "$R/lib64/ld-linux-x86-64.so.2"
  # shellcheck disable=SC2086
  copy_modules "$K" "$version" "$R" $MODULES

  cp -a "$HERE/tiny-root/." "$R/"
  chown -R 0:0 "$R"
  # The sources keep no executable bit: what has a #! line gets it.
  (cd "$HERE/tiny-root" && grep -rlZ '^#!' .) | (cd "$R" && xargs -0 chmod 755)
}

make_root
make_initrd "$X/bin/busybox" "$K" "$version" "$WORK/initrd.img"
# An ext4 old enough for busybox and small enough for a small disk: short journal, grown on the first boot.
make_disk tiny 54494e59 "$R" 48 "$X" "$K/boot/vmlinuz-$version" "$WORK/initrd.img" "root=LABEL=tiny-root ro $KERNEL_OPTIONS" \
  "$OUT" "$SIZE" -m 0 -O '^metadata_csum,^64bit,resize_inode' -J size=4
ls -l "$OUT" "$WORK/initrd.img"
du -sh "$R"
