# shellcheck shell=bash
# The cache of guest images: built once per machine and per state of their sources.

image() { # KIND [PATH]
  local kind=${1:-} path sources
  case $kind in
    tiny | debian) ;;
    *) die "image takes tiny or debian, not '$kind'" ;;
  esac
  sources=("$HERE/image/lib.sh" "$HERE/image/initrd-init" "$HERE/image/build-$kind.sh")
  [ ! -d "$HERE/image/$kind-root" ] || sources+=("$HERE/image/$kind-root")
  path=$CACHE/$kind-$(find "${sources[@]}" -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-12).qcow2
  mkdir -p "$CACHE"
  [ -e "$path" ] || (
    flock 8
    [ -e "$path" ] || build_image "$kind" "$path"
  ) 8<"$CACHE"
  if [ -n "${2:-}" ]; then cp --reflink=auto "$path" "$2"; else echo "$path"; fi
}

build_image() { # KIND PATH
  local start=$SECONDS log=$CACHE/$1.log
  say "building the $1 image ..."
  CACHE=$CACHE bash "$HERE/image/build-$1.sh" "$2" >"$log" 2>&1 8<&- || {
    tail -n 40 "$log" >&2
    die "the $1 image could not be built; above is the end of $log"
  }
  # Its predecessors, from older sources; another clone may still be at work with a recent one.
  find "$CACHE" -maxdepth 1 -name "$1-*.qcow2" ! -path "$2" -mtime +2 -delete
  say "building the $1 image: done in $((SECONDS - start)) s"
}
