# shellcheck shell=bash
# What both guest images share: Debian packages unpacked rather than installed, the initrd, and the disk's layout.
# No loop device and no mount: mtools and mkfs write into the image file.

CACHE=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ablestack-kvm-lab}
DEBS=$CACHE/debs
ESP_MIB=24
# Beyond the plain names and `root=`: what costs time in software emulation and serves no test is off (-0.7 s).
KERNEL_OPTIONS='console=tty0 console=ttyS0,115200 quiet net.ifnames=0 panic=5 mitigations=off no_timer_check nokaslr
 init_on_alloc=0 lsm= audit=0 tsc=reliable 8250.nr_uarts=1 cryptomgr.notests lpj=10000000'
KERNEL_OPTIONS=${KERNEL_OPTIONS//$'\n'/}

# For a system that nobody reads manuals in.
# shellcheck disable=SC2034  # used by the files that source this one
MMDEBSTRAP_SLIM=(--aptopt='Apt::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/doc/*'
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*')

# The first archive of that label which this machine itself uses: it may reach no others. apt is asked, since the files
# that name them have any name and two formats; it knows labels once it has fetched its lists.
archive() { # LABEL
  local uri
  [ -n "$(labelled Debian)" ] || apt-get -q update >&2
  uri=$(labelled "$1" | sed -n 1p)
  case $uri in
    # on Debian's cloud images: a file with mirrors
    mirror+file:*) uri=$(awk '/^[^#]/ {print $1; exit}' "$(sed -E 's,^mirror\+file:/*,/,; s,/*$,,' <<<"$uri")") ;;
  esac
  echo "$uri"
}
# shellcheck disable=SC2016  # apt's variable, not the shell's
labelled() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Label: $1"; }

kernel_package() { apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-6/ {print $2; exit}'; }

# Newest of a package's files: an older one may have stayed from an earlier build.
deb_of() { find "$DEBS" -name "$1_*.deb" -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2; }

fetch() { # PACKAGE...
  local name wanted=()
  mkdir -p "$DEBS"
  for name in "$@"; do [ -n "$(deb_of "$name")" ] || wanted+=("$name"); done
  [ "${#wanted[@]}" = 0 ] || (
    cd "$DEBS" || exit
    # root's own download: apt's sandbox user may not write here
    apt-get -q -o APT::Sandbox::User=root download "${wanted[@]}"
  )
}

unpack() { # FOLDER PACKAGE...
  local folder=$1 name
  shift
  mkdir -p "$folder"
  for name in "$@"; do dpkg-deb -x "$(deb_of "$name")" "$folder"; done
}

# Copies kernel modules with those they depend on. One that is absent or built in copies nothing.
copy_modules() { # KERNEL-TREE VERSION DESTINATION MODULE...
  local tree=$1 version=$2 dest=$3 module file
  shift 3
  for module in "$@"; do
    /sbin/modprobe -q -D -d "$tree" -S "$version" "$module" 2>/dev/null | awk '$1 == "insmod" {print $2}' || true
  done | sort -u | while read -r file; do
    file=${file#"$tree"}
    mkdir -p "$dest$(dirname "$file")"
    cp "$tree$file" "$dest$file"
  done
  mkdir -p "$dest/lib/modules/$version"
  cp "$tree/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$dest/lib/modules/$version/"
  /sbin/depmod -b "$dest" "$version"
}

make_initrd() { # BUSYBOX KERNEL-TREE VERSION OUT
  local tree=$WORK/initrd applet
  mkdir -p "$tree"/{bin,dev,proc,sys,new,run}
  cp "$1" "$tree/bin/busybox"
  for applet in sh mount umount modprobe dd cat sleep blockdev touch printf sync switch_root; do
    ln -s busybox "$tree/bin/$applet"
  done
  copy_modules "$2" "$3" "$tree" virtio_pci virtio_blk virtio_scsi sd_mod ata_piix
  install -m755 "$HERE/initrd-init" "$tree/init"
  (cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) | gzip -9n >"$4"
}

# MBR; partition 1: FAT with one kernel, for syslinux (BIOS) and systemd-boot (UEFI); partition 2: ext4 made of a folder.
make_disk() { # NAME DISK-ID ROOT-FOLDER ROOT-MIB LOADERS VMLINUZ INITRD OPTIONS OUT SIZE [MKFS-OPTION...]
  local name=$1 id=$2 root=$3 mib=$4 loaders=$5 vmlinuz=$6 initrd=$7 options=$8 out=$9 size=${10} raw=$WORK/disk.raw esp
  shift 10
  rm -f "$raw"
  truncate -s $((1 + ESP_MIB + mib))M "$raw"
  sfdisk -q "$raw" <<TABLE
label: dos
label-id: 0x$id
start=2048, size=$((ESP_MIB * 2048)), type=ef, bootable
start=$(((1 + ESP_MIB) * 2048)), size=$((mib * 2048)), type=83
TABLE
  dd if="$loaders/usr/lib/syslinux/mbr/mbr.bin" of="$raw" bs=440 count=1 conv=notrunc status=none
  /sbin/mkfs.vfat --offset 2048 -F 16 -s 4 -n "${name^^}-ESP" "$raw" $((ESP_MIB * 1024))
  esp="$raw@@1M"
  printf 'DEFAULT l\nPROMPT 0\nTIMEOUT 0\nLABEL l\n LINUX /vmlinuz\n INITRD /initrd.img\n APPEND %s\n' "$options" >"$WORK/syslinux.cfg"
  printf 'default l.conf\ntimeout 0\neditor no\n' >"$WORK/loader.conf"
  printf 'title %s\nlinux /vmlinuz\ninitrd /initrd.img\noptions %s\n' "$name" "$options" >"$WORK/l.conf"
  mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/loader ::/loader/entries
  mcopy -i "$esp" "$vmlinuz" ::/vmlinuz
  mcopy -i "$esp" "$initrd" ::/initrd.img
  mcopy -i "$esp" "$WORK/syslinux.cfg" ::/syslinux.cfg
  mcopy -i "$esp" "$WORK/loader.conf" ::/loader/
  mcopy -i "$esp" "$WORK/l.conf" ::/loader/entries/
  mcopy -i "$esp" "$loaders/usr/lib/systemd/boot/efi/systemd-bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI
  "$loaders/usr/bin/syslinux" --install -t 1048576 "$raw" # Debian's is the mtools build: it does not mount
  /sbin/mkfs.ext4 -q -F -L "$name-root" "$@" -E offset=$(((1 + ESP_MIB) * 1048576)),root_owner=0:0,lazy_itable_init=0 -d "$root" "$raw" "${mib}M"
  qemu-img convert -q -O qcow2 -c "$raw" "$out.new"
  qemu-img resize -q "$out.new" "$size"
  mv "$out.new" "$out"
}
