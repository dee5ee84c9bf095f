# shellcheck shell=bash
# A host with Debian 13's libvirt and QEMU: the same namespaces, in a root file system of its own.

# Noted in the host's folder, so that it is the same kind of host after a crash.
mark_debian13() { # hN
  mkdir -p "$RUN/$1"
  image debian13-host >"$RUN/$1/root-from"
}
has_own_root() { [ -e "$RUN/$1/root-from" ]; }

# Inside the namespaces: makes that file system, under an overlay, the root of everything that follows.
enter_root() { # hN
  local own=$RUN/$1 root=$RUN/$1/rootfs
  mkdir -p "$root" "$own/rootfs.up" "$own/rootfs.work"
  mount -t overlay overlay -o "lowerdir=$(cat "$own/root-from"),upperdir=$own/rootfs.up,workdir=$own/rootfs.work" "$root"
  mount --rbind /dev "$root/dev"
  mount -t proc proc "$root/proc"
  mkdir -p "$root$RUN" "$root/old"
  mount --bind "$RUN" "$root$RUN"
  cd "$root" || return
  # This very process goes along, and with it the functions it has read.
  pivot_root . old
  cd / || return
  umount -l /old
  rmdir /old
  hash -r
}
