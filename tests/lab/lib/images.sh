# shellcheck shell=bash
# The cache of what is built: guest images, and the root file system of the Debian 13 host. Once per machine and per
# state of the sources.

image() { # KIND [PATH]
  local kind=${1:-} path
  [ -e "$HERE/image/build-$kind.sh" ] || die "there is no image '$kind'"
  path=$CACHE/$kind-$(sources_of "$kind" | sha256sum | cut -c1-12)
  # The host's is a folder.
  [[ $kind = *-host ]] || path=$path.qcow2
  mkdir -p "$CACHE"
  [ -e "$path" ] || (
    flock 8
    [ -e "$path" ] || build_image "$kind" "$path"
  ) 8<"$CACHE"
  if [ -n "${2:-}" ]; then cp -r --reflink=auto "$path" "$2"; else echo "$path"; fi
}

sources_of() { # KIND
  local sources=("$HERE/image/lib.sh" "$HERE/image/build-$1.sh")
  [[ $1 = *-host ]] || sources+=("$HERE/image/initrd-init")
  [ ! -d "$HERE/image/$1-root" ] || sources+=("$HERE/image/$1-root")
  find "${sources[@]}" -type f -print0 | sort -z | xargs -0 cat
}

build_image() { # KIND PATH
  local start=$SECONDS log=$CACHE/$1.log
  say "building the $1 image ..."
  CACHE=$CACHE bash "$HERE/image/build-$1.sh" "$2" >"$log" 2>&1 8<&- || {
    tail -n 40 "$log" >&2
    die "the $1 image could not be built; above is the end of $log"
  }
  # Its predecessors, from older sources; another clone may still be at work with a recent one.
  find "$CACHE" -mindepth 1 -maxdepth 1 -name "$1-????????????*" ! -path "$2" -mtime +2 -exec rm -rf --one-file-system {} +
  say "building the $1 image: done in $((SECONDS - start)) s"
}
